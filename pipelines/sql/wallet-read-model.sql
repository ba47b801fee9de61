-- The balances that are shown. Safe to apply again.

CREATE TABLE IF NOT EXISTS wallet_balances (
  wallet_id  text PRIMARY KEY,
  balance    numeric NOT NULL,
  -- Of the last event in it.
  version    bigint NOT NULL,
  updated_at timestamptz NOT NULL
);
