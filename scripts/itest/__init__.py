"""The library behind the verbs and the pytest plugin: one stage a module, data flowing one way."""
