-- Functions that call models in people's names.

-- serve's own user, whom only the setup Job makes.
ALTER TABLE users
    DROP CONSTRAINT users_role_check,
    ADD CONSTRAINT users_role_check CHECK (role IN ('admin', 'operator', 'user', 'service'));
