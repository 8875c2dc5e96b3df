#!/bin/sh
# Build the images nextreel and nextreel-notebook. IMAGE_TAG names their tag, as in deploy/.env.
set -eu
cd "$(dirname "$0")/../.."
tag="${IMAGE_TAG:-0.1.0}"
docker build --file deploy/spark/Dockerfile --target runtime --tag "nextreel:$tag" .
docker build --file deploy/spark/Dockerfile --target notebook --tag "nextreel-notebook:$tag" .
