#!/usr/bin/env bash
# The driver and its tools killed before and after every one of their file operations.
exec bash "${JRL_TOP:-.}/tests/t0701-driver-kills.sh" all
