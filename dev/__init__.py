"""What runs on a developer's machine and nowhere else: embedded servers and the launcher behind `make run`."""
