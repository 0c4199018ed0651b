"""The pure core: what should be done, given what exists. No I/O, no clock, no logging, no asyncio."""
