-- Company transactions: what txns-ingest, txns-consumer, rules-promote and promote-consumer keep in PostgreSQL.
-- Repeatable: running it again changes nothing that is there.
CREATE SCHEMA IF NOT EXISTS control;
CREATE SCHEMA IF NOT EXISTS app;

CREATE TABLE IF NOT EXISTS control.companies (
  company_id text PRIMARY KEY,
  name text NOT NULL,
  spreadsheet_id text NOT NULL,
  active boolean NOT NULL DEFAULT true
);

-- A rule gives its category to the rows whose description contains `pattern`. It counts once it is active.
CREATE TABLE IF NOT EXISTS control.rules (
  rule_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  company_id text NOT NULL REFERENCES control.companies,
  pattern text NOT NULL CHECK (pattern <> ''),
  category text NOT NULL CHECK (category <> ''),
  status text NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'active')),
  promoted_at timestamptz,
  UNIQUE (company_id, pattern)
);

-- Every row of a sheet that was ever posted: claimed before the call, posted after it.
CREATE TABLE IF NOT EXISTS control.sheet_posts (
  spreadsheet_id text NOT NULL,
  tab text NOT NULL,
  row_key text NOT NULL,
  status text NOT NULL CHECK (status IN ('claimed', 'posted')),
  claimed_at timestamptz NOT NULL,
  posted_at timestamptz,
  CONSTRAINT sheet_posts_unique UNIQUE (spreadsheet_id, tab, row_key)
);

CREATE TABLE IF NOT EXISTS app.transactions (
  company_id text NOT NULL REFERENCES control.companies,
  txn_id text NOT NULL,
  posted_on date NOT NULL,
  description text NOT NULL,
  amount numeric NOT NULL,
  -- NULL: no rule fits yet.
  category text,
  received_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (company_id, txn_id)
);
CREATE INDEX IF NOT EXISTS transactions_pending ON app.transactions (company_id) WHERE category IS NULL;

-- The first rule that fits, oldest first, so that a repeat gives the same answer.
CREATE OR REPLACE FUNCTION app.category_of(company text, description text) RETURNS text LANGUAGE sql STABLE AS $$
  SELECT r.category FROM control.rules r
  WHERE r.company_id = company AND r.status = 'active' AND position(lower(r.pattern) IN lower(description)) > 0
  ORDER BY r.rule_id LIMIT 1
$$;

-- Rows as the sheet wants them: amounts as exact text.
CREATE OR REPLACE FUNCTION app.sheet_row(t app.transactions) RETURNS jsonb LANGUAGE sql STABLE AS $$
  SELECT jsonb_build_object('id', t.txn_id, 'date', t.posted_on, 'description', t.description, 'amount', t.amount::text, 'category', t.category)
$$;

-- Mover: the batch's rows, each once. A row that comes again stays as it first came.
CREATE OR REPLACE FUNCTION app.move(batch jsonb) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE moved bigint;
BEGIN
  -- NaN and the infinities, too: a sheet could not show them, and every replay of the company would stumble over the row.
  PERFORM FROM jsonb_to_recordset(batch->'rows') AS r (amount numeric) WHERE abs(r.amount) >= 1e20;
  IF FOUND THEN
    RAISE EXCEPTION 'an amount must be a decimal with at most 20 digits before the point' USING ERRCODE = 'check_violation';
  END IF;
  INSERT INTO app.transactions (company_id, txn_id, posted_on, description, amount)
  SELECT batch->>'company', r.id, r.date, r.description, r.amount
  FROM jsonb_to_recordset(batch->'rows') AS r (id text, date date, description text, amount numeric)
  ON CONFLICT (company_id, txn_id) DO NOTHING;
  GET DIAGNOSTICS moved = ROW_COUNT;
  RETURN moved;
END $$;

-- Triage: active rules give the batch's rows a category, the others stay pending. Returns the rows in the batch's order.
CREATE OR REPLACE FUNCTION app.triage(batch jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE company text := batch->>'company';
BEGIN
  UPDATE app.transactions t SET category = app.category_of(company, t.description)
  FROM jsonb_to_recordset(batch->'rows') AS r (id text)
  WHERE t.company_id = company AND t.txn_id = r.id AND t.category IS NULL AND app.category_of(company, t.description) IS NOT NULL;
  RETURN (
    SELECT coalesce(jsonb_agg(app.sheet_row(t) ORDER BY b.n), '[]')
    FROM jsonb_array_elements(batch->'rows') WITH ORDINALITY AS b (item, n)
    JOIN app.transactions t ON t.company_id = company AND t.txn_id = b.item->>'id'
  );
END $$;

-- Promote: the company's pending rules become active.
CREATE OR REPLACE FUNCTION app.promote(company text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE promoted bigint;
BEGIN
  UPDATE control.rules SET status = 'active', promoted_at = now() WHERE company_id = company AND status = 'pending';
  GET DIAGNOSTICS promoted = ROW_COUNT;
  RETURN promoted;
END $$;

-- Replay: all transactions of the company through the rules again. Returns those that have a category, oldest first.
CREATE OR REPLACE FUNCTION app.replay(company text) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
  UPDATE app.transactions t SET category = app.category_of(company, t.description)
  WHERE t.company_id = company AND t.category IS NULL AND app.category_of(company, t.description) IS NOT NULL;
  RETURN (
    SELECT coalesce(jsonb_agg(app.sheet_row(t) ORDER BY t.posted_on, t.txn_id), '[]')
    FROM app.transactions t WHERE t.company_id = company AND t.category IS NOT NULL
  );
END $$;
