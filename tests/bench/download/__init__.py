"""`task bench:download`: our transfer against `hf download` followed by `aws s3 cp`, both in one run."""
