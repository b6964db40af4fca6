#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Fetches http://ADDRESS/ COUNT times, PARALLEL at once; prints who answered how often (JSON)."""

import collections
import concurrent.futures
import http.client
import json
import sys


def fetch(address):
    connection = http.client.HTTPConnection(address, timeout=10)
    try:
        connection.request("GET", "/", headers={"Connection": "close"})
        return connection.getresponse().read().decode()
    except OSError as error:
        return f"failed: {error}"
    finally:
        connection.close()


def main():
    address, count, parallel = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    with concurrent.futures.ThreadPoolExecutor(parallel) as pool:
        print(json.dumps(collections.Counter(pool.map(fetch, [address] * count))))


if __name__ == "__main__":
    main()
