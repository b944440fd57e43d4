#!/bin/sh
echo "hello from the isolated side"
