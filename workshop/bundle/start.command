#!/bin/sh
# macOS opens this with a double click
cd "$(dirname "$0")" && exec python3 start.py "$@"
