# Read by the `flask` command on a developer's machine; production sets these itself and does not ship this file.
FLASK_APP=wsgi
PARLEY_ENV=development
