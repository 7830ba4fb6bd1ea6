-- An event that is redriven a second time, while the row of the first is still being sent, has a row of its own.

-- The CloudEvents id where it is not the row's: a redriven event keeps its id, and rows have to be told apart.
ALTER TABLE outbox ADD COLUMN event_id TEXT;
