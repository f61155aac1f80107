-- One of each kind of thing that a test can write to.
CREATE TYPE mood AS ENUM ('calm', 'keen');
CREATE SEQUENCE tickets START 100;
CREATE UNLOGGED TABLE visits (id int GENERATED ALWAYS AS IDENTITY, at timestamptz DEFAULT now());
CREATE TABLE owners (
    id serial PRIMARY KEY, name text NOT NULL, shout text GENERATED ALWAYS AS (upper(name)) STORED, mood mood
);
CREATE TABLE pets (
    id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, owner_id int REFERENCES owners ON DELETE CASCADE, name text
);
CREATE TABLE chicken (id int PRIMARY KEY, egg_id int);
CREATE TABLE egg (id int PRIMARY KEY, chicken_id int REFERENCES chicken DEFERRABLE INITIALLY DEFERRED);
ALTER TABLE chicken ADD FOREIGN KEY (egg_id) REFERENCES egg DEFERRABLE INITIALLY DEFERRED;
CREATE TABLE readings (at date NOT NULL, value int) PARTITION BY RANGE (at);
CREATE TABLE readings_old PARTITION OF readings FOR VALUES FROM (MINVALUE) TO ('2020-01-01');
CREATE TABLE readings_new PARTITION OF readings FOR VALUES FROM ('2020-01-01') TO (MAXVALUE);
CREATE TABLE things (id serial, name text);
CREATE TABLE vehicles (wheels int) INHERITS (things);
CREATE TABLE audit (id serial, what text);
CREATE FUNCTION audit() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO audit (what) VALUES (TG_OP || ' ' || TG_TABLE_NAME);
    RETURN NULL;
END $$;
CREATE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON owners FOR EACH ROW EXECUTE FUNCTION audit();
CREATE TABLE strict (id int);
CREATE TRIGGER audit AFTER INSERT OR DELETE ON strict FOR EACH ROW EXECUTE FUNCTION audit();
ALTER TABLE strict ENABLE ALWAYS TRIGGER audit;
CREATE MATERIALIZED VIEW names AS SELECT name FROM owners WITH NO DATA;
