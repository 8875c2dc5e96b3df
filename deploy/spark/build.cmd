@echo off
rem Build the images nextreel and nextreel-notebook. IMAGE_TAG names their tag, as in deploy\.env.
setlocal
cd /d "%~dp0..\.." || exit /b 1
if not defined IMAGE_TAG set IMAGE_TAG=0.1.0
docker build --file deploy/spark/Dockerfile --target runtime --tag nextreel:%IMAGE_TAG% . || exit /b 1
docker build --file deploy/spark/Dockerfile --target notebook --tag nextreel-notebook:%IMAGE_TAG% . || exit /b 1
