-- +goose Up

-- The address under which the organisation's identity provider knows a person, in lower case; '' when none was given.
ALTER TABLE people ADD COLUMN email TEXT NOT NULL DEFAULT '';
CREATE UNIQUE INDEX people_by_email ON people (merchant_id, email) WHERE email <> '' AND revoked_at IS NULL;
CREATE INDEX people_with_email ON people (email) WHERE email <> '' AND revoked_at IS NULL;

-- A browser in which a person is signed in. The secret in its cookie is kept as every secret is.
CREATE TABLE sessions (
	id            TEXT   NOT NULL PRIMARY KEY,
	merchant_id   TEXT   NOT NULL REFERENCES merchants (id),
	person_id     TEXT   NOT NULL REFERENCES people (id),
	secret_sha256 TEXT   NOT NULL UNIQUE,
	method        TEXT   NOT NULL CHECK (method IN ('link', 'oidc', 'passkey')),
	agent         TEXT   NOT NULL, -- the browser's name for itself, cut: it may say anything
	created_at    BIGINT NOT NULL,
	last_seen_at  BIGINT NOT NULL,
	expires_at    BIGINT NOT NULL,
	step_up_at    BIGINT,          -- when the person last showed who they are
	revoked_at    BIGINT
);
CREATE INDEX sessions_by_person ON sessions (merchant_id, person_id, id);
CREATE INDEX sessions_by_merchant ON sessions (merchant_id, id);

-- The one link with which a person may sign in: a new one takes the place of the old.
CREATE TABLE sign_in_links (
	person_id     TEXT   NOT NULL PRIMARY KEY REFERENCES people (id),
	merchant_id   TEXT   NOT NULL REFERENCES merchants (id),
	secret_sha256 TEXT   NOT NULL UNIQUE,
	created_at    BIGINT NOT NULL,
	expires_at    BIGINT NOT NULL,
	used_at       BIGINT
);

-- Passkeys (W3C WebAuthn Level 3): public keys of people's devices. record is the credential record as JSON.
CREATE TABLE passkeys (
	id            TEXT   NOT NULL PRIMARY KEY,
	merchant_id   TEXT   NOT NULL REFERENCES merchants (id),
	person_id     TEXT   NOT NULL REFERENCES people (id),
	credential_id TEXT   NOT NULL UNIQUE, -- base64url
	name          TEXT   NOT NULL,
	record        TEXT   NOT NULL,
	sign_count    BIGINT NOT NULL,
	created_at    BIGINT NOT NULL,
	last_used_at  BIGINT
);
CREATE INDEX passkeys_by_person ON passkeys (merchant_id, person_id, id);

-- Whom an identity provider means: OpenID Connect has issuer and subject together for one account, for good.
CREATE TABLE oidc_identities (
	issuer      TEXT   NOT NULL,
	subject     TEXT   NOT NULL,
	merchant_id TEXT   NOT NULL REFERENCES merchants (id),
	person_id   TEXT   NOT NULL REFERENCES people (id),
	created_at  BIGINT NOT NULL,
	PRIMARY KEY (issuer, subject)
);
CREATE UNIQUE INDEX oidc_identities_by_person ON oidc_identities (person_id, issuer);

-- Ceremonies (a passkey's, an identity provider's) that ended well, so that none does twice. What is under way is kept by the
-- browser, sealed: a flood of beginnings leaves nothing here.
CREATE TABLE used_ceremonies (
	id         TEXT   NOT NULL PRIMARY KEY,
	expires_at BIGINT NOT NULL
);
CREATE INDEX used_ceremonies_by_age ON used_ceremonies (expires_at);
