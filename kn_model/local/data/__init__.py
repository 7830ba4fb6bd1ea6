"""PostgreSQL and S3 as child processes on loopback."""
