"""What this project adds to pytest: lanes for parallel runs, and a record of durations."""
