/**
 * What Supabase's database webhooks are made of, as its self-hosted setup has it (supabase/supabase,
 * docker/volumes/db/webhooks.sql): the schema, the audit table and a trigger function with that name and those arguments.
 * Instead of asking pg_net it notes what it was called with.
 */
export const supabaseFunctions: ReadonlyArray<string> = [
  "CREATE SCHEMA supabase_functions",
  `CREATE TABLE supabase_functions.hooks (
     id bigserial PRIMARY KEY, hook_table_id integer NOT NULL, hook_name text NOT NULL,
     created_at timestamptz NOT NULL DEFAULT now(), request_id bigint, body jsonb)`,
  `CREATE FUNCTION supabase_functions.http_request() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
     SET search_path = supabase_functions AS $$
   BEGIN
     IF TG_ARGV[0] IS NULL OR TG_ARGV[1] IS NULL THEN RAISE EXCEPTION 'url and method are needed'; END IF;
     INSERT INTO supabase_functions.hooks (hook_table_id, hook_name, body)
       VALUES (TG_RELID, TG_NAME, jsonb_build_object('type', TG_OP, 'table', TG_TABLE_NAME, 'schema', TG_TABLE_SCHEMA,
         'record', CASE WHEN TG_OP <> 'DELETE' THEN to_jsonb(NEW) END,
         'old_record', CASE WHEN TG_OP <> 'INSERT' THEN to_jsonb(OLD) END));
     RETURN coalesce(NEW, OLD);
   END $$`
]

/** Triggers as its Studio writes them, and as people write them in migrations. */
export const supabaseTriggers = (url: string): ReadonlyArray<string> => [
  "CREATE TABLE orders (id int PRIMARY KEY, status text, total numeric)",
  "CREATE TABLE \"Odd lines\" (id int PRIMARY KEY, note text)",
  `CREATE TRIGGER orders_hook AFTER INSERT OR DELETE OR UPDATE ON public.orders FOR EACH ROW
     EXECUTE FUNCTION supabase_functions.http_request('${url}', 'POST',
       '{"Content-type":"application/json","Authorization":"Bearer se''cret"}', '{"tenant":"a b"}', '5000')`,
  `CREATE TRIGGER "Handle lines" AFTER INSERT ON "Odd lines" FOR EACH ROW
     EXECUTE FUNCTION supabase_functions.http_request('${url}', 'POST', '{"Content-Type":"application/json"}', '{}', '90000', '3')`,
  `CREATE TRIGGER status_hook AFTER UPDATE OF status, total ON orders FOR EACH ROW
     EXECUTE FUNCTION supabase_functions.http_request('${url}', 'POST', 'null', 'null', '1000')`,
  `CREATE TRIGGER paid_hook AFTER UPDATE ON orders FOR EACH ROW
     WHEN (OLD.status IS DISTINCT FROM NEW.status AND NEW.status = 'paid')
     EXECUTE FUNCTION supabase_functions.http_request('${url}', 'POST', '{}', '{}', '1000')`,
  `CREATE TRIGGER off_hook AFTER INSERT ON orders FOR EACH ROW
     EXECUTE FUNCTION supabase_functions.http_request('${url}', 'POST', '{}', '{}', '1000')`,
  "ALTER TABLE orders DISABLE TRIGGER off_hook",
  `CREATE TRIGGER get_hook AFTER INSERT ON orders FOR EACH ROW
     EXECUTE FUNCTION supabase_functions.http_request('${url}', 'GET', '{}', '{}', '1000')`,
  `CREATE TRIGGER broken_hook AFTER INSERT ON orders FOR EACH ROW
     EXECUTE FUNCTION supabase_functions.http_request('${url}', 'POST', '{"Authorization":"Bearer " || current_setting(''x'')}', '{}', '1000')`,
  `CREATE TRIGGER whole_hook AFTER INSERT ON orders FOR EACH STATEMENT
     EXECUTE FUNCTION supabase_functions.http_request('${url}', 'POST', '{}', '{}', '1000')`,
  "ALTER TABLE orders DISABLE TRIGGER whole_hook",
  "ALTER TABLE orders DISABLE TRIGGER broken_hook"
]
