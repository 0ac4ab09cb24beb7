"""Here so that tests in this folder and below it find the module `tiny`."""
