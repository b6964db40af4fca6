# SPDX-License-Identifier: Apache-2.0
"""Many TCP connections that are held open.

    echo_many.py serve PORT                        answers each line with itself
    echo_many.py hold ADDRESS PORT COUNT FILE      opens COUNT connections, says a line on each, waits
                                                   for FILE to be there, says another, and prints how
                                                   many were answered
"""

import asyncio
import pathlib
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
    return await asyncio.wait_for(reader.readline(), 20) == text + b"\n"


async def hold(address, port, count, file):
    connections = [await asyncio.open_connection(address, port) for _ in range(count)]
    for number, streams in enumerate(connections):
        assert await ask(streams, b"first %d" % number)
    while not file.exists():
        await asyncio.sleep(0.05)
    answers = await asyncio.gather(*(ask(streams, b"second %d" % number)
                                     for number, streams in enumerate(connections)),
                                   return_exceptions=True)
    print(f"{answers.count(True)} answered")


def main():
    if sys.argv[1] == "serve":
        asyncio.run(serve(int(sys.argv[2])))
    else:
        asyncio.run(hold(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]),
                         pathlib.Path(sys.argv[5])))


if __name__ == "__main__":
    main()
