-- How often the source of a file turned out to send another version than it began with: a transfer starts anew a few
-- times, then its model fails.
ALTER TABLE model_files ADD COLUMN restarts INT NOT NULL DEFAULT 0;
