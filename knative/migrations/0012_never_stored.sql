-- Requests whose body was never stored are looked for on every tick.
CREATE INDEX inference_requests_never_stored ON inference_requests (created_at) WHERE accepted_at IS NULL;
