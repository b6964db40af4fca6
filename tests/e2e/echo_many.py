# SPDX-License-Identifier: Apache-2.0
"""Many TCP connections that are held open.

    echo_many.py serve PORT                        answers each line with itself
    echo_many.py hold ADDRESS PORT COUNT FILE...   opens COUNT connections and says a line on each; says
                                                   another when a FILE is there, for each, and prints
                                                   how many were answered
"""

import asyncio
import pathlib
import resource
import sys


async def answer(reader, writer):
    while line := await reader.readline():
        writer.write(line)
        await writer.drain()
    writer.close()


async def serve(port):
    server = await asyncio.start_server(answer, None, port, backlog=1024)
    await server.serve_forever()


async def ask(streams, text):
    reader, writer = streams
    writer.write(text + b"\n")
    await writer.drain()
    return await asyncio.wait_for(reader.readline(), 60) == text + b"\n"


async def hold(address, port, count, files):
    connections = []
    while len(connections) < count:
        connections += await asyncio.gather(*(asyncio.open_connection(address, port)
                                              for _ in range(100)))
    for file in (None, *files):
        while file is not None and not file.exists():
            await asyncio.sleep(0.05)
        answers = await asyncio.gather(*(ask(streams, b"%d at %a" % (number, file))
                                         for number, streams in enumerate(connections)),
                                       return_exceptions=True)
        print(f"{answers.count(True)} answered", flush=True)


def main():
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    if sys.argv[1] == "serve":
        asyncio.run(serve(int(sys.argv[2])))
    else:
        asyncio.run(hold(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]),
                         [pathlib.Path(name) for name in sys.argv[5:]]))


if __name__ == "__main__":
    main()
