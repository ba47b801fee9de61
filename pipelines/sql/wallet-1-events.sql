-- The writing side: wallets, their event store, and the outbox. Safe to apply again.

CREATE TABLE IF NOT EXISTS wallets (
  wallet_id  text PRIMARY KEY CHECK (wallet_id <> '' AND length(wallet_id) <= 200),
  balance    numeric NOT NULL DEFAULT 0 CHECK (balance >= 0),
  version    bigint NOT NULL DEFAULT 0,
  created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- What has been asked under an idempotency key, and that it was done: a repeat does nothing.
CREATE TABLE IF NOT EXISTS wallet_operations (
  idempotency_key text PRIMARY KEY CHECK (length(idempotency_key) BETWEEN 1 AND 200),
  request         jsonb NOT NULL,
  created_at      timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE TABLE IF NOT EXISTS wallet_events (
  event_id   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  wallet_id  text NOT NULL REFERENCES wallets,
  -- 1, 2, 3… per wallet, without gaps: what is lost, doubled or out of order shows.
  version    bigint NOT NULL,
  type       text NOT NULL,
  -- Signed: what the event adds to the wallet.
  amount     numeric NOT NULL,
  balance    numeric NOT NULL,
  payload    jsonb NOT NULL,
  created_at timestamptz NOT NULL,
  UNIQUE (wallet_id, version)
);

CREATE TABLE IF NOT EXISTS outbox (
  id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  aggregate_id text NOT NULL,
  type         text NOT NULL,
  payload      jsonb NOT NULL,
  created_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
  processed_at timestamptz
);
CREATE INDEX IF NOT EXISTS outbox_unprocessed ON outbox (id) WHERE processed_at IS NULL;
-- Every row is updated once: a table that is all churn wants vacuuming early.
ALTER TABLE outbox SET (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 0.1);

-- Wakes the publisher. It is a hint only: what it misses is found by polling.
CREATE OR REPLACE FUNCTION outbox_notify() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM pg_notify('outbox', '');
  RETURN NULL;
END $$;
CREATE OR REPLACE TRIGGER outbox_notify AFTER INSERT ON outbox FOR EACH STATEMENT EXECUTE FUNCTION outbox_notify();

-- Written as the request had it, to the last digit: at most 30 digits before the point and 8 behind it.
CREATE OR REPLACE FUNCTION wallet_amount(command jsonb) RETURNS numeric LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
  written text := command->>'amount';
BEGIN
  IF written IS NULL OR written !~ '^[0-9]{1,30}(\.[0-9]{1,8})?$' OR written::numeric <= 0 THEN
    RAISE EXCEPTION 'amount must be a decimal above 0 with at most 8 places, but is %', coalesce(command->>'amount', 'missing')
      USING ERRCODE = 'check_violation';
  END IF;
  RETURN written::numeric;
END $$;

-- One step of a wallet that is locked already: its new balance, its event, and the outbox row that tells of it.
CREATE OR REPLACE FUNCTION wallet_record(wallet text, kind text, delta numeric, key text, other text, at timestamptz) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  w wallets;
  event bigint := nextval('wallet_events_event_id_seq');
  body jsonb;
BEGIN
  UPDATE wallets SET balance = balance + delta, version = version + 1 WHERE wallet_id = wallet AND balance + delta >= 0 RETURNING * INTO w;
  IF NOT FOUND THEN
    SELECT * INTO w FROM wallets WHERE wallet_id = wallet;
    RAISE EXCEPTION 'insufficient funds: wallet % has %, % asked for', wallet, w.balance, -delta USING ERRCODE = 'check_violation';
  END IF;
  -- Amounts are text: a JSON number would be a double to many who read it.
  body := jsonb_strip_nulls(jsonb_build_object('eventId', event, 'walletId', wallet, 'version', w.version, 'type', kind,
    'amount', delta::text, 'balance', w.balance::text, 'counterparty', other, 'idempotencyKey', key,
    'occurredAt', to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')));
  INSERT INTO wallet_events (event_id, wallet_id, version, type, amount, balance, payload, created_at) OVERRIDING SYSTEM VALUE
    VALUES (event, wallet, w.version, kind, delta, w.balance, body, at);
  INSERT INTO outbox (aggregate_id, type, payload) VALUES (wallet, kind, body);
END $$;

-- {operation: deposit | withdraw | transfer, walletId, amount, toWalletId?, idempotencyKey?}. The wallets are locked already.
-- Raises what the sender is told.
CREATE OR REPLACE FUNCTION wallet_command(command jsonb) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  wallet text := command->>'walletId';
  other  text := command->>'toWalletId';
  key    text := command->>'idempotencyKey';
  amount numeric := wallet_amount(command);
  before jsonb;
  now_   timestamptz := clock_timestamp();
BEGIN
  IF jsonb_typeof(command->'walletId') IS DISTINCT FROM 'string' OR wallet = '' OR length(wallet) > 200 THEN
    RAISE EXCEPTION 'walletId must be a text of 1 to 200 characters' USING ERRCODE = 'check_violation';
  END IF;
  IF key IS NOT NULL THEN
    IF key = '' OR length(key) > 200 THEN
      RAISE EXCEPTION 'idempotencyKey must be a text of 1 to 200 characters' USING ERRCODE = 'check_violation';
    END IF;
    INSERT INTO wallet_operations (idempotency_key, request) VALUES (key, command) ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
      SELECT request INTO before FROM wallet_operations WHERE idempotency_key = key;
      IF before IS DISTINCT FROM command THEN
        RAISE EXCEPTION 'idempotency key % was used for another operation', key USING ERRCODE = 'check_violation';
      END IF;
      RETURN;
    END IF;
  END IF;
  CASE command->>'operation'
  WHEN 'deposit' THEN
    PERFORM wallet_record(wallet, 'Deposited', amount, key, NULL, now_);
  WHEN 'withdraw' THEN
    PERFORM wallet_record(wallet, 'Withdrawn', -amount, key, NULL, now_);
  WHEN 'transfer' THEN
    IF jsonb_typeof(command->'toWalletId') IS DISTINCT FROM 'string' OR other = '' OR length(other) > 200 OR other = wallet THEN
      RAISE EXCEPTION 'toWalletId must name another wallet' USING ERRCODE = 'check_violation';
    END IF;
    PERFORM wallet_record(wallet, 'TransferSent', -amount, key, other, now_);
    PERFORM wallet_record(other, 'TransferReceived', amount, key, wallet, now_);
  ELSE
    RAISE EXCEPTION 'operation must be deposit, withdraw or transfer, but is %', coalesce(command->>'operation', 'missing')
      USING ERRCODE = 'check_violation';
  END CASE;
END $$;

-- A batch of commands, in order, all or nothing; each in an envelope: {value: the command, headers: those of its request}. A key in the
-- header `idempotency-key` wins over `idempotencyKey` in the body; the rows of one request have `idempotency-index`.
-- Every wallet is locked before the first outbox row is inserted, and always in the same order: two batches never wait for each other
-- in a circle, and the ids of a wallet's rows follow the order of their commits.
CREATE OR REPLACE FUNCTION wallet_commands(envelopes jsonb) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  envelope jsonb;
  command jsonb;
  key text;
  named text[];
BEGIN
  SELECT array_agg(id ORDER BY id) INTO named FROM (
    SELECT e->'value'->>'walletId' AS id FROM jsonb_array_elements(envelopes) e
    UNION SELECT e->'value'->>'toWalletId' FROM jsonb_array_elements(envelopes) e WHERE e->'value'->>'operation' = 'transfer') ids
    WHERE id <> '' AND length(id) <= 200;
  INSERT INTO wallets (wallet_id) SELECT id FROM unnest(named) WITH ORDINALITY AS n (id, i) ORDER BY i ON CONFLICT DO NOTHING;
  PERFORM 1 FROM wallets WHERE wallet_id = ANY (named) ORDER BY wallet_id FOR UPDATE;
  FOR envelope IN SELECT e FROM jsonb_array_elements(envelopes) WITH ORDINALITY AS a(e, n) ORDER BY n LOOP
    command := envelope->'value';
    IF jsonb_typeof(command) <> 'object' THEN
      RAISE EXCEPTION 'an operation must be a JSON object' USING ERRCODE = 'check_violation';
    END IF;
    key := envelope->'headers'->>'idempotency-key';
    IF key IS NOT NULL THEN
      IF coalesce(envelope->'headers'->>'idempotency-index', '0') <> '0' THEN key := key || '#' || (envelope->'headers'->>'idempotency-index'); END IF;
      command := command || jsonb_build_object('idempotencyKey', key);
    END IF;
    PERFORM wallet_command(command);
  END LOOP;
END $$;
