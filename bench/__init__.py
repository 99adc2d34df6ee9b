"""Benchmarks: the product as it ships beside a floor in C and four other servers, in interleaved rounds."""
