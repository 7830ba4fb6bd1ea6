"""The function `download`: fetches models from their source into S3, verified, in slices that resume."""
