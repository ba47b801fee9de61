/** Fills the outbox inside PostgreSQL: the writers' own cost stays out of the way of what is measured. */
import pg from 'pg'

const SCHEMA = `
  CREATE TABLE outbox (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    aggregate_id text NOT NULL, type text NOT NULL, payload jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(), processed_at timestamptz);
  CREATE INDEX ON outbox (id) WHERE processed_at IS NULL;
  CREATE FUNCTION outbox_notify() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_notify('outbox', ''); RETURN NULL; END $$;
  CREATE TRIGGER outbox_notify AFTER INSERT ON outbox FOR EACH STATEMENT EXECUTE FUNCTION outbox_notify();
  CREATE SEQUENCE fed;
  CREATE FUNCTION row_of(n bigint) RETURNS jsonb LANGUAGE sql AS $$
    SELECT jsonb_build_object('n', n, 't', round(extract(epoch FROM clock_timestamp()) * 1000, 3), 'text', repeat('x', 110)) $$;
  -- One writer of several: one-row transactions, evenly, for so long. Its aggregates are its own, so their order is known.
  CREATE PROCEDURE feed(writer int, per_second float, seconds float) LANGUAGE plpgsql AS $$
  DECLARE
    started timestamptz := clock_timestamp();
    done int := 0;
    n bigint;
    late float;
  BEGIN
    WHILE done < per_second * seconds LOOP
      n := nextval('fed');
      INSERT INTO outbox (aggregate_id, type, payload) VALUES ('w' || writer || '-' || n % 125, 'Happened', row_of(n));
      COMMIT;
      done := done + 1;
      late := extract(epoch FROM clock_timestamp() - started) - done / per_second;
      IF late < 0 THEN PERFORM pg_sleep(-late); END IF;
    END LOOP;
  END $$;`

export async function withClient<T>(dsn: string, work: (db: pg.Client) => Promise<T>): Promise<T> {
  const db = new pg.Client({ connectionString: dsn })
  await db.connect()
  try {
    return await work(db)
  } finally {
    await db.end()
  }
}

export const prepare = (dsn: string): Promise<unknown> => withClient(dsn, db => db.query(SCHEMA))

/** Eight writers. @returns how many rows they wrote. */
export async function steady(dsn: string, perSecond: number, seconds: number): Promise<number> {
  const writers = Array.from({ length: 8 }, (_, writer) =>
    withClient(dsn, db => db.query(`CALL feed(${writer}, ${perSecond / 8}, ${seconds})`)),
  )
  await Promise.all(writers)
  return Math.ceil((perSecond / 8) * seconds) * 8
}

/** All in one transaction: they are there at once. */
export async function burst(dsn: string, rows: number): Promise<void> {
  await withClient(dsn, db =>
    db.query(
      `INSERT INTO outbox (aggregate_id, type, payload) SELECT 'b' || n % 1000, 'Happened', row_of(n) FROM (SELECT nextval('fed') AS n FROM generate_series(1, ${rows})) s`,
    ),
  )
}
