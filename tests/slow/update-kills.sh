#!/usr/bin/env bash
# jrl-update killed before and after every one of its file operations.
exec bash "${JRL_TOP:-.}/tests/t0602-update-kills.sh" all
