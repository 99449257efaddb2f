CREATE TABLE public.figures (
    shard integer NOT NULL,
    jobs bigint DEFAULT 0 NOT NULL,
    open_images bigint DEFAULT 0 NOT NULL,
    unsent bigint DEFAULT 0 NOT NULL
)
WITH (fillfactor='50');
CREATE TABLE public.images (
    job bigint NOT NULL,
    idx integer NOT NULL,
    trace_id text NOT NULL,
    original_filename text NOT NULL,
    key_name text NOT NULL,
    url text NOT NULL,
    status text NOT NULL,
    original_path text NOT NULL,
    content_type text NOT NULL,
    size bigint NOT NULL,
    sha256 text NOT NULL,
    processed_path text NOT NULL,
    error text NOT NULL,
    error_code text NOT NULL,
    retryable boolean NOT NULL,
    start_time bigint NOT NULL,
    end_time bigint NOT NULL,
    revision bigint NOT NULL,
    unsent boolean NOT NULL,
    send bigint NOT NULL,
    relay text NOT NULL,
    relay_until bigint NOT NULL,
    CONSTRAINT images_check CHECK (((end_time <> 0) = (status = ANY (ARRAY['completed'::text, 'failed'::text])))),
    CONSTRAINT images_check1 CHECK (((NOT unsent) OR (end_time = 0)))
);
CREATE TABLE public.jobs (
    seq bigint NOT NULL,
    id text NOT NULL COLLATE pg_catalog."C",
    status text NOT NULL,
    visible boolean NOT NULL,
    total integer NOT NULL,
    completed integer NOT NULL,
    failed integer NOT NULL,
    revision bigint NOT NULL,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    completed_at bigint NOT NULL,
    lease_owner text NOT NULL COLLATE pg_catalog."C",
    lease_epoch bigint NOT NULL,
    lease_until bigint NOT NULL,
    work integer NOT NULL,
    originals_gone boolean NOT NULL,
    retry_of text NOT NULL,
    fingerprint text NOT NULL,
    idempotency_scope text NOT NULL,
    idempotency_key text NOT NULL,
    originals_gone_at bigint DEFAULT 0 NOT NULL,
    owner text DEFAULT ''::text NOT NULL COLLATE pg_catalog."C",
    origin text DEFAULT ''::text NOT NULL COLLATE pg_catalog."C",
    CONSTRAINT jobs_check CHECK (((completed >= 0) AND (failed >= 0) AND ((completed + failed) <= total))),
    CONSTRAINT jobs_check1 CHECK (((completed_at <> 0) = (status = ANY (ARRAY['completed'::text, 'failed'::text, 'cancelled'::text])))),
    CONSTRAINT jobs_work_check CHECK ((work >= 0))
);
ALTER TABLE public.jobs ALTER COLUMN seq ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.jobs_seq_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE public.migrations (
    name text NOT NULL COLLATE pg_catalog."C",
    applied_at bigint NOT NULL
);
CREATE TABLE public.owners (
    name text NOT NULL COLLATE pg_catalog."C",
    renewed_until bigint NOT NULL
);
CREATE TABLE public.store (
    one integer NOT NULL,
    id text NOT NULL,
    probe bytea DEFAULT '\x'::bytea NOT NULL,
    CONSTRAINT store_one_check CHECK ((one = 1))
);
ALTER TABLE ONLY public.store ALTER COLUMN probe SET STORAGE EXTERNAL;
INSERT INTO public.figures VALUES (0, 0, 0, 0);
INSERT INTO public.figures VALUES (1, 0, 0, 0);
INSERT INTO public.figures VALUES (2, 0, 0, 0);
INSERT INTO public.figures VALUES (3, 0, 0, 0);
INSERT INTO public.figures VALUES (4, 0, 0, 0);
INSERT INTO public.figures VALUES (5, 0, 0, 0);
INSERT INTO public.figures VALUES (6, 0, 0, 0);
INSERT INTO public.figures VALUES (7, 0, 0, 0);
INSERT INTO public.figures VALUES (8, 0, 0, 0);
INSERT INTO public.figures VALUES (9, 0, 0, 0);
INSERT INTO public.figures VALUES (12, 0, 0, 0);
INSERT INTO public.figures VALUES (13, 0, 0, 0);
INSERT INTO public.figures VALUES (14, 0, 0, 0);
INSERT INTO public.figures VALUES (15, 0, 0, 0);
INSERT INTO public.figures VALUES (16, 0, 0, 0);
INSERT INTO public.figures VALUES (17, 0, 0, 0);
INSERT INTO public.figures VALUES (18, 0, 0, 0);
INSERT INTO public.figures VALUES (19, 0, 0, 0);
INSERT INTO public.figures VALUES (20, 0, 0, 0);
INSERT INTO public.figures VALUES (21, 0, 0, 0);
INSERT INTO public.figures VALUES (22, 0, 0, 0);
INSERT INTO public.figures VALUES (23, 0, 0, 0);
INSERT INTO public.figures VALUES (24, 0, 0, 0);
INSERT INTO public.figures VALUES (25, 0, 0, 0);
INSERT INTO public.figures VALUES (26, 0, 0, 0);
INSERT INTO public.figures VALUES (27, 0, 0, 0);
INSERT INTO public.figures VALUES (28, 0, 0, 0);
INSERT INTO public.figures VALUES (29, 0, 0, 0);
INSERT INTO public.figures VALUES (30, 0, 0, 0);
INSERT INTO public.figures VALUES (31, 0, 0, 0);
INSERT INTO public.figures VALUES (32, 0, 0, 0);
INSERT INTO public.figures VALUES (33, 0, 0, 0);
INSERT INTO public.figures VALUES (34, 0, 0, 0);
INSERT INTO public.figures VALUES (35, 0, 0, 0);
INSERT INTO public.figures VALUES (36, 0, 0, 0);
INSERT INTO public.figures VALUES (38, 0, 0, 0);
INSERT INTO public.figures VALUES (39, 0, 0, 0);
INSERT INTO public.figures VALUES (40, 0, 0, 0);
INSERT INTO public.figures VALUES (41, 0, 0, 0);
INSERT INTO public.figures VALUES (42, 0, 0, 0);
INSERT INTO public.figures VALUES (43, 0, 0, 0);
INSERT INTO public.figures VALUES (44, 0, 0, 0);
INSERT INTO public.figures VALUES (45, 0, 0, 0);
INSERT INTO public.figures VALUES (46, 0, 0, 0);
INSERT INTO public.figures VALUES (47, 0, 0, 0);
INSERT INTO public.figures VALUES (48, 0, 0, 0);
INSERT INTO public.figures VALUES (49, 0, 0, 0);
INSERT INTO public.figures VALUES (50, 0, 0, 0);
INSERT INTO public.figures VALUES (51, 0, 0, 0);
INSERT INTO public.figures VALUES (52, 0, 0, 0);
INSERT INTO public.figures VALUES (53, 0, 0, 0);
INSERT INTO public.figures VALUES (54, 0, 0, 0);
INSERT INTO public.figures VALUES (55, 0, 0, 0);
INSERT INTO public.figures VALUES (56, 0, 0, 0);
INSERT INTO public.figures VALUES (57, 0, 0, 0);
INSERT INTO public.figures VALUES (58, 0, 0, 0);
INSERT INTO public.figures VALUES (59, 0, 0, 0);
INSERT INTO public.figures VALUES (60, 0, 0, 0);
INSERT INTO public.figures VALUES (61, 0, 0, 0);
INSERT INTO public.figures VALUES (62, 0, 0, 0);
INSERT INTO public.figures VALUES (63, 0, 0, 0);
INSERT INTO public.figures VALUES (11, 3, 2, 0);
INSERT INTO public.figures VALUES (10, 1, -1, 0);
INSERT INTO public.figures VALUES (37, 1, 2, 2);
INSERT INTO public.images VALUES (1, 1, 'dc53c0bac136ba18c3a05c4de632189e', 'bad.jpg', 'bad.jpg', '', 'failed', '', '', 0, '', '', 'Not an image', 'not_an_image', false, 1795876760190646, 1795876760190646, 1, false, 0, 'PXAAX6Q2OFWXWKUH25P55PMGRJ', 1795876764191917);
INSERT INTO public.images VALUES (2, 0, '0ebc66c335587e9eb2d31b7dd4c015c2', 'bad.jpg', 'bad.jpg', '', 'failed', '', '', 0, '', '', 'Not an image', 'not_an_image', false, 1795876760227562, 1795876760227562, 1, false, 0, 'PXAAX6Q2OFWXWKUH25P55PMGRJ', 1795876764228764);
INSERT INTO public.images VALUES (1, 0, '3db44c1eee63145c47bb43c45f7eefb2', 'good.png', 'good.png', '', 'completed', '3db44c1eee63145c47bb43c45f7eefb2/good.png', 'image/png', 114, '820c5ea034d91f621c02da0a0faf4926e8a3811b41e337fb964d8af53ecd7263', '3db44c1eee63145c47bb43c45f7eefb2/good.png', '', '', false, 1795876760190646, 1795876760228089, 2, false, 1, 'PXAAX6Q2OFWXWKUH25P55PMGRJ', 1795876764336963);
INSERT INTO public.images VALUES (3, 1, '1958752c242585f41d6cff30a6094020', 'good.png', 'good.png', '', 'completed', '1958752c242585f41d6cff30a6094020/good.png', 'image/png', 114, '820c5ea034d91f621c02da0a0faf4926e8a3811b41e337fb964d8af53ecd7263', '1958752c242585f41d6cff30a6094020/good.png', '', '', false, 1795876760460096, 1795876760493473, 3, false, 1, 'PXAAX6Q2OFWXWKUH25P55PMGRJ', 1795876764494909);
INSERT INTO public.images VALUES (3, 0, '232a30c1637cb8265ee3d28adc04cd04', 'never.jpg', 'never.jpg', 'http://127.0.0.1:28922/never.jpg', 'failed', '', '', 0, '', '', 'Cancelled', 'cancelled', true, 1795876760472249, 1795876763521642, 4, false, 0, 'PXAAX6Q2OFWXWKUH25P55PMGRJ', 1795876767523154);
INSERT INTO public.images VALUES (4, 0, 'd1ccd03d6343a099b86eb70566e4047f', 'never.jpg', 'never.jpg', 'http://127.0.0.1:28922/never.jpg', 'processing', '', '', 0, '', '', '', '', false, 1795876763638182, 0, 2, false, 0, 'PXAAX6Q2OFWXWKUH25P55PMGRJ', 1795876767639522);
INSERT INTO public.images VALUES (4, 1, 'c785b2beb37abfeed56b563ce1a48652', 'good.png', 'good.png', '', 'completed', 'c785b2beb37abfeed56b563ce1a48652/good.png', 'image/png', 114, '820c5ea034d91f621c02da0a0faf4926e8a3811b41e337fb964d8af53ecd7263', 'c785b2beb37abfeed56b563ce1a48652/good.png', '', '', false, 1795876763636527, 1795876763662759, 3, false, 1, 'PXAAX6Q2OFWXWKUH25P55PMGRJ', 1795876767672051);
INSERT INTO public.images VALUES (5, 0, '32e3d10c56b6cc21c682de3824254aca', 'a.jpg', 'a.jpg', '', 'processing', 'o/a.jpg', 'image/jpeg', 7, 'ab', '', '', '', false, 1767323045678901, 0, 1, true, 1, 'NG2IYW3XPINYPHF4JH4AKUPEFM', 1795876813509467);
INSERT INTO public.images VALUES (5, 1, 'e430fe88c98675377107306c627d6cde', 'a.jpg', 'a.jpg', '', 'processing', 'o/a.jpg', 'image/jpeg', 7, 'ab', '', '', '', false, 1767323045678901, 0, 1, true, 1, 'NG2IYW3XPINYPHF4JH4AKUPEFM', 1795876813509467);
INSERT INTO public.images VALUES (6, 0, '82e26a955dbe984519fc8e2eb1ab233e', 'a.jpg', 'a.jpg', '', 'failed', 'o/a.jpg', 'image/jpeg', 7, 'ab', '', 'Image is damaged', 'damaged_image', false, 1767323045678901, 1767323045678901, 1, false, 0, 'NG2IYW3XPINYPHF4JH4AKUPEFM', 1795876813528713);
INSERT INTO public.images VALUES (7, 0, 'afc651a9d062db28e3c5c51b3ef5c3c9', 'a.jpg', 'a.jpg', '', 'failed', 'o/a.jpg', 'image/jpeg', 7, 'ab', '', 'Image is damaged', 'damaged_image', false, 1767323046678901, 1767323046678901, 1, false, 0, 'NG2IYW3XPINYPHF4JH4AKUPEFM', 1795876813531773);
INSERT INTO public.jobs OVERRIDING SYSTEM VALUE VALUES (2, '1e4c7506-bc59-4f0c-954b-04f4dc9294b3', 'failed', true, 1, 0, 1, 1, 1795876760227562, 1795876760227562, 1795876760227562, 'e7e27b47-11aa-4c06-ace0-eed118822083', 1, 1795876775227562, 0, false, '', 'cc0db8a646af8ec8a068de22db9b96d3f8df975004002cb60dfd91e9c3b84175', '', 'failed', 0, '', '');
INSERT INTO public.jobs OVERRIDING SYSTEM VALUE VALUES (1, '2d29a6b0-4836-4494-8401-5227cb6fab77', 'completed', true, 2, 1, 1, 2, 1795876760190646, 1795876760228089, 1795876760228089, 'e7e27b47-11aa-4c06-ace0-eed118822083', 1, 1795876775190646, 0, false, '', '39871751ee664f7216c848649f79367384249ed6c434af9548b9071ac7411725', '', 'mixed', 0, '', '');
INSERT INTO public.jobs OVERRIDING SYSTEM VALUE VALUES (3, 'b84adab1-e2c8-4548-9c8b-5a458939e960', 'cancelled', true, 2, 1, 1, 4, 1795876760460096, 1795876763521642, 1795876763521642, 'e7e27b47-11aa-4c06-ace0-eed118822083', 1, 1795876775460096, 0, false, '', 'ff98835b278f91c67adc22ed56f37b52575558581a3b490237043017f333e48f', '', 'cancelled', 0, '', '');
INSERT INTO public.jobs OVERRIDING SYSTEM VALUE VALUES (4, '4db609b1-8eed-4567-b5e6-bd2e8f5e245d', 'processing', true, 2, 1, 0, 3, 1795876763636527, 1795876763662759, 0, 'e7e27b47-11aa-4c06-ace0-eed118822083', 1, 1795876778636527, 1, false, '', 'ff98835b278f91c67adc22ed56f37b52575558581a3b490237043017f333e48f', '', 'fetching', 0, '', '');
INSERT INTO public.jobs OVERRIDING SYSTEM VALUE VALUES (5, 'unsent', 'processing', true, 2, 0, 0, 1, 1767323045678901, 1767323045678901, 0, '', 0, 0, 0, false, '', '', '', '', 0, 'anna', 'origin');
INSERT INTO public.jobs OVERRIDING SYSTEM VALUE VALUES (7, 'hidden', 'failed', false, 1, 0, 1, 1, 1767323046678901, 1767323046678901, 1767323046678901, '', 0, 0, 0, false, '', '', '', '', 0, '', '');
INSERT INTO public.jobs OVERRIDING SYSTEM VALUE VALUES (6, 'swept', 'failed', false, 1, 0, 1, 1, 1767323045678901, 1767323045678901, 1767323045678901, '', 0, 0, 0, true, '', '', '', '', 1767326645678901, '', '');
INSERT INTO public.jobs OVERRIDING SYSTEM VALUE VALUES (8, 'received', 'receiving', false, 0, 0, 0, 0, 0, 0, 0, 'gone', 1, 1767323045678901, 1, false, '', '', 'anna', 'received', 0, '', '');
INSERT INTO public.migrations VALUES ('migrations/2026-11-23_jobs.sql', 1795876759979818);
INSERT INTO public.migrations VALUES ('migrations/2026-11-25_late.sql', 1795876759984783);
INSERT INTO public.migrations VALUES ('migrations/2026-11-25_owner.sql', 1795876760001573);
INSERT INTO public.migrations VALUES ('migrations/2026-11-25_traces.sql', 1795876760002113);
INSERT INTO public.owners VALUES ('e7e27b47-11aa-4c06-ace0-eed118822083', 1795876780056478);
INSERT INTO public.store VALUES (1, '86b2307225915466', '\x');
SELECT pg_catalog.setval('public.jobs_seq_seq', 8, true);
ALTER TABLE ONLY public.figures
    ADD CONSTRAINT figures_pkey PRIMARY KEY (shard);
ALTER TABLE ONLY public.images
    ADD CONSTRAINT images_pkey PRIMARY KEY (job, idx);
ALTER TABLE ONLY public.jobs
    ADD CONSTRAINT jobs_id_key UNIQUE (id);
ALTER TABLE ONLY public.jobs
    ADD CONSTRAINT jobs_pkey PRIMARY KEY (seq);
ALTER TABLE ONLY public.migrations
    ADD CONSTRAINT migrations_pkey PRIMARY KEY (name);
ALTER TABLE ONLY public.owners
    ADD CONSTRAINT owners_pkey PRIMARY KEY (name);
ALTER TABLE ONLY public.store
    ADD CONSTRAINT store_pkey PRIMARY KEY (one);
CREATE INDEX images_open ON public.images USING btree (start_time) WHERE (end_time = 0);
CREATE INDEX images_unsent ON public.images USING btree (job, idx) WHERE unsent;
CREATE INDEX jobs_ended ON public.jobs USING btree (completed_at) WHERE (visible AND (completed_at > 0));
CREATE INDEX jobs_hidden ON public.jobs USING btree (originals_gone, completed_at) WHERE ((NOT visible) AND (completed_at > 0));
CREATE UNIQUE INDEX jobs_key ON public.jobs USING btree (idempotency_scope, idempotency_key) WHERE ((idempotency_key <> ''::text) AND (visible OR (completed_at = 0)));
CREATE INDEX jobs_list ON public.jobs USING btree (created_at, id) WHERE visible;
CREATE INDEX jobs_open ON public.jobs USING btree (created_at) WHERE (visible AND (completed_at = 0));
CREATE INDEX jobs_owner ON public.jobs USING btree (owner, created_at, id) WHERE (visible AND (owner <> ''::text));
CREATE INDEX jobs_owner_open ON public.jobs USING btree (owner) WHERE (visible AND (completed_at = 0) AND (owner <> ''::text));
CREATE INDEX jobs_work ON public.jobs USING btree (lease_owner, lease_until, seq) WHERE (work > 0);
ALTER TABLE ONLY public.images
    ADD CONSTRAINT images_job_fkey FOREIGN KEY (job) REFERENCES public.jobs(seq) ON DELETE CASCADE;
