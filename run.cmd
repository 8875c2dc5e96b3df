@echo off
rem The script run, by the Python that py -3 or python starts: run demo, run test, run --help
setlocal
set "is_old=import sys; sys.exit(sys.version_info < (3, 11))"
set "python=py -3"
call %python% -c "%is_old%" >nul 2>nul && goto found
set "python=python"
call %python% -c "%is_old%" >nul 2>nul && goto found
echo nextreel: neither py -3 nor python starts Python 3.11 or newer. Install one: https://www.python.org/downloads/ 1>&2
exit /b 1
:found
%python% "%~dp0run" %*
exit /b %errorlevel%
