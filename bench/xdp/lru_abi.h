/* SPDX-License-Identifier: GPL-2.0-or-later OR Apache-2.0 */
/* Keys of the kernel's maps that take the place of the flow table. C and C++. */
#pragma once

#include <linux/types.h>

enum { LRU_ENDS = 65536 };

struct lru_flow6 {
  __u64 client[2];
  __u64 tail; /* port | number of the endpoint << 16 */
};

struct lru_end6 {
  __u64 address[2];
  __u64 tail; /* port | protocol << 16 | side << 24 */
};
