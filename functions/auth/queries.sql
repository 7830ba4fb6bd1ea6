-- name: forget_failures
-- Drops counts that nobody added to for $1 seconds, so that guessed names do not pile up.
DELETE FROM login_failures WHERE updated_at < now() - $1::float8 * interval '1 second';

-- name: charge_attempt
-- Counts one attempt before its password is looked at, so that a thousand at once cannot all be looked at.
-- $1 hashed name, $2 the lock in seconds after each count. No row comes back while the name is locked.
INSERT INTO login_failures AS f (name_sha256, failures, locked_until)
VALUES ($1, 1, clock_timestamp() + ($2::int[])[1] * interval '1 second')
ON CONFLICT (name_sha256) DO UPDATE
   SET failures = f.failures + 1,
       locked_until = clock_timestamp() + ($2::int[])[least(f.failures + 1, cardinality($2::int[]))] * interval '1 second',
       updated_at = now()
 WHERE f.locked_until <= clock_timestamp()
RETURNING failures;

-- name: lock_seconds
-- How long the name's lock still lasts; negative when it has ended.
SELECT extract(epoch FROM locked_until - clock_timestamp())::float8 FROM login_failures WHERE name_sha256 = $1;

-- name: forgive
-- The right password, or an admin's new one, ends the count.
DELETE FROM login_failures WHERE name_sha256 = $1;

-- name: credentials
-- What a log-in needs of one user.
SELECT username, password_hash, role FROM users WHERE username = $1;

-- name: replace_hash
-- Stores the same password's hash with new parameters, unless it was changed meanwhile.
UPDATE users SET password_hash = $3 WHERE username = $1 AND password_hash = $2;

-- name: role_of
-- A user's role now, whatever an older token says; no row when the user, or the API key $2 behind the token, is gone.
SELECT role FROM users u
 WHERE username = $1
   AND ($2::text IS NULL OR EXISTS (SELECT FROM api_keys k WHERE k.id = $2 AND k.username = u.username
                                       AND k.revoked_at IS NULL AND k.expires_at > now()));

-- name: add_user
-- No row comes back when the name is taken.
INSERT INTO users (username, password_hash, role) VALUES ($1, $2, $3)
ON CONFLICT (username) DO NOTHING
RETURNING username, role, created_at, updated_at;

-- name: list_users
-- One page by name, after $1.
SELECT username, role, created_at, updated_at FROM users WHERE username > $1 ORDER BY username LIMIT $2;

-- name: get_user
-- One user.
SELECT username, role, created_at, updated_at FROM users WHERE username = $1;

-- name: lock_admins
-- All admins, locked in one order: of two calls that would each remove one of the last two, the second sees the first.
SELECT username FROM users WHERE role = 'admin' ORDER BY username FOR UPDATE;

-- name: change_user
-- Sets what is not null of hash $2 and role $3.
UPDATE users
   SET password_hash = coalesce($2, password_hash), role = coalesce($3, role), updated_at = now()
 WHERE username = $1
RETURNING username, role, created_at, updated_at;

-- name: delete_user
-- The user's API keys go with it.
DELETE FROM users WHERE username = $1 RETURNING username;

-- name: has_admin
-- Whether anybody can manage users.
SELECT EXISTS (SELECT FROM users WHERE role = 'admin');

-- name: add_key
-- No row comes back when the user already has $8 keys that are not revoked.
INSERT INTO api_keys (id, key_sha256, name, username, models, actions, expires_at)
SELECT $1, $2, $3, $4, $5, $6, now() + $7::int * interval '1 day'
 WHERE (SELECT count(*) FROM api_keys WHERE username = $4 AND revoked_at IS NULL) < $8::int
RETURNING id, name, username, models, actions, created_at, expires_at;

-- name: list_keys
-- A user's keys that are not revoked, oldest first.
SELECT id, name, username, models, actions, created_at, expires_at
  FROM api_keys WHERE username = $1 AND revoked_at IS NULL ORDER BY created_at, id;

-- name: revoke_key
-- Revokes $1 when it belongs to $2, or to anybody where $3 says so; again is no error.
UPDATE api_keys SET revoked_at = coalesce(revoked_at, now())
 WHERE id = $1 AND (username = $2 OR $3::bool)
RETURNING id;

-- name: find_key
-- One key by id with its owner's role of this moment, if it is neither revoked nor expired.
SELECT k.id, k.key_sha256, k.username, k.models, k.actions, k.expires_at, u.role
  FROM api_keys k JOIN users u USING (username)
 WHERE k.id = $1 AND k.revoked_at IS NULL AND k.expires_at > now();

-- name: keep_key
-- The key of a service, which lives as long as its Secret: it is replaced by another one and not renewed.
INSERT INTO api_keys (id, key_sha256, name, username, models, actions, expires_at)
VALUES ($1, $2, $3, $4, '{*}', $5, now() + interval '100 years')
ON CONFLICT (id) DO NOTHING;

-- name: revoke_other_keys
-- All keys of a user but one.
UPDATE api_keys SET revoked_at = now() WHERE username = $1 AND id <> $2 AND revoked_at IS NULL;
