"""The library behind the verbs and the pytest plugin; README.md beside this file tells what is where."""
