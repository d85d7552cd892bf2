CREATE TABLE addresses (
    device_key bigint NOT NULL,
    user_id text NOT NULL,
    device_id smallint NOT NULL,
    removed_at double precision
);
CREATE SEQUENCE addresses_device_key_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE addresses_device_key_seq OWNED BY addresses.device_key;
CREATE TABLE bodies (
    body_key bigint NOT NULL,
    content bytea NOT NULL
);
CREATE SEQUENCE bodies_body_key_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE bodies_body_key_seq OWNED BY bodies.body_key;
CREATE TABLE body_references (
    body_key bigint NOT NULL,
    count bigint NOT NULL
);
CREATE TABLE bundle_answers (
    asker_key bigint NOT NULL,
    request_id bytea NOT NULL,
    answered_at double precision NOT NULL,
    answer bytea NOT NULL
);
CREATE TABLE bundles (
    device_key bigint NOT NULL,
    signed_id bigint NOT NULL,
    signed_key bytea NOT NULL,
    signed_signature bytea NOT NULL,
    kem_id bigint NOT NULL,
    kem_key bytea NOT NULL,
    kem_signature bytea NOT NULL
);
CREATE TABLE devices (
    device_key bigint NOT NULL,
    user_key bigint NOT NULL,
    device_id smallint NOT NULL,
    registration_id integer NOT NULL,
    submission_number bigint NOT NULL,
    delivery_number bigint NOT NULL,
    upload_number bigint NOT NULL,
    connection_number bigint NOT NULL,
    seen_at double precision NOT NULL,
    upload_digest bytea
);
CREATE TABLE envelope_ids (
    device_key bigint NOT NULL,
    sender_key bigint NOT NULL,
    envelope_id bytea NOT NULL,
    stored_at double precision NOT NULL
);
CREATE TABLE group_entries (
    group_id bytea NOT NULL,
    number bigint NOT NULL,
    entry bytea NOT NULL,
    hash bytea NOT NULL,
    stored_at double precision NOT NULL
);
CREATE TABLE group_leavers (
    group_id bytea NOT NULL,
    user_id text NOT NULL,
    identity_key bytea NOT NULL,
    number bigint NOT NULL
);
CREATE TABLE group_seats (
    group_id bytea NOT NULL,
    user_id text NOT NULL,
    identity_key bytea NOT NULL,
    role smallint NOT NULL
);
CREATE TABLE groups (
    group_id bytea NOT NULL,
    name text NOT NULL,
    kind smallint NOT NULL,
    number bigint NOT NULL,
    hash bytea NOT NULL,
    epoch bigint NOT NULL,
    created_at double precision NOT NULL
);
CREATE TABLE handed_prekeys (
    device_key bigint NOT NULL,
    kind smallint NOT NULL,
    key_id bigint NOT NULL,
    digest bytea NOT NULL,
    handed_at double precision NOT NULL,
    asker_user_key bigint NOT NULL,
    stranger boolean NOT NULL
);
CREATE TABLE mail (
    device_key bigint NOT NULL,
    number bigint NOT NULL,
    sender_key bigint NOT NULL,
    sender_user_key bigint NOT NULL,
    envelope_id bytea NOT NULL,
    kind smallint NOT NULL,
    size integer NOT NULL,
    stored_at double precision NOT NULL,
    content bytea,
    body_key bigint
);
CREATE TABLE mailbox_shares (
    device_key bigint NOT NULL,
    sender_user_key bigint NOT NULL,
    count bigint NOT NULL,
    size bigint NOT NULL
);
CREATE TABLE mailboxes (
    device_key bigint NOT NULL,
    last_number bigint NOT NULL,
    count bigint NOT NULL,
    size bigint NOT NULL
);
CREATE TABLE one_time_prekeys (
    device_key bigint NOT NULL,
    kind smallint NOT NULL,
    key_id bigint NOT NULL,
    public_key bytea NOT NULL,
    signature bytea,
    digest bytea NOT NULL
);
CREATE TABLE schema_version (
    name text NOT NULL,
    version integer NOT NULL
);
CREATE TABLE submissions (
    device_key bigint NOT NULL,
    slot smallint NOT NULL,
    number bigint NOT NULL,
    digest bytea NOT NULL
);
CREATE TABLE users (
    user_key bigint NOT NULL,
    user_id text NOT NULL,
    identity_key bytea NOT NULL,
    created_at double precision NOT NULL
);
CREATE SEQUENCE users_user_key_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE users_user_key_seq OWNED BY users.user_key;
ALTER TABLE ONLY addresses ALTER COLUMN device_key SET DEFAULT nextval('addresses_device_key_seq'::regclass);
ALTER TABLE ONLY bodies ALTER COLUMN body_key SET DEFAULT nextval('bodies_body_key_seq'::regclass);
ALTER TABLE ONLY users ALTER COLUMN user_key SET DEFAULT nextval('users_user_key_seq'::regclass);
INSERT INTO addresses VALUES (1, 'alice', 1, NULL);
INSERT INTO addresses VALUES (2, 'bob', 1, NULL);
INSERT INTO addresses VALUES (3, 'carol', 1, 1700000000);
INSERT INTO bodies VALUES (1, '\x7465616d2031');
INSERT INTO bodies VALUES (2, '\x746f20616c6c');
INSERT INTO bodies VALUES (3, '\x656e7472792032');
INSERT INTO bodies VALUES (4, '\x656e7472792033');
INSERT INTO body_references VALUES (1, 1);
INSERT INTO body_references VALUES (2, 1);
INSERT INTO body_references VALUES (3, 2);
INSERT INTO body_references VALUES (4, 2);
INSERT INTO bundle_answers VALUES (1, '\x00000000000000000000000000000001', 1700000000, '\x9201929602010000c40465632030c4009602010100c4056b656d2030c4097369676e6174757265');
INSERT INTO bundles VALUES (1, 1, '\x7369676e6564206b6579', '\x7369676e6564207369676e6174757265', 2, '\x6b656d206b6579', '\x6b656d207369676e6174757265');
INSERT INTO bundles VALUES (2, 1, '\x7369676e6564206b6579', '\x7369676e6564207369676e6174757265', 2, '\x6b656d206b6579', '\x6b656d207369676e6174757265');
INSERT INTO devices VALUES (2, 2, 1, 1, 0, 2, 0, 0, 1700000000, NULL);
INSERT INTO devices VALUES (1, 1, 1, 1, 7, 0, 3, 1, 1700000000, '\x646967657374206f662075706c6f6164');
INSERT INTO envelope_ids VALUES (1, 1, '\x054d79a72a9a25950448bbed1c4017df', 1700000000);
INSERT INTO envelope_ids VALUES (2, 1, '\x054d79a72a9a25950448bbed1c4017df', 1700000000);
INSERT INTO envelope_ids VALUES (2, 1, '\x00000000000000000000000000000001', 1700000000);
INSERT INTO envelope_ids VALUES (2, 1, '\x00000000000000000000000000000002', 1700000000);
INSERT INTO envelope_ids VALUES (1, 2, '\x00000000000000000000000000000003', 1700000000);
INSERT INTO envelope_ids VALUES (1, 1, '\x690396b0e760bb1a655c81fe146dd04f', 1700000000);
INSERT INTO envelope_ids VALUES (2, 1, '\x690396b0e760bb1a655c81fe146dd04f', 1700000000);
INSERT INTO envelope_ids VALUES (1, 1, '\x40093ead2c5f20a05dfd08796e7f24d7', 1700000000);
INSERT INTO envelope_ids VALUES (2, 1, '\x40093ead2c5f20a05dfd08796e7f24d7', 1700000000);
INSERT INTO group_entries VALUES ('\x1688b0589247d5219267fc43f54c4c24ac3f6dd9464cecf2846deae58bffe60d', 0, '\x7465616d2030', '\x1688b0589247d5219267fc43f54c4c24ac3f6dd9464cecf2846deae58bffe60d', 1700000000);
INSERT INTO group_entries VALUES ('\x1688b0589247d5219267fc43f54c4c24ac3f6dd9464cecf2846deae58bffe60d', 1, '\x7465616d2031', '\x054d79a72a9a25950448bbed1c4017df58855e033d2232cbca3ac26136a73826', 1700000000);
INSERT INTO group_entries VALUES ('\x1688b0589247d5219267fc43f54c4c24ac3f6dd9464cecf2846deae58bffe60d', 2, '\x656e7472792032', '\x690396b0e760bb1a655c81fe146dd04fdd7ed9686a1916cf90e4c223914ae917', 1700000000);
INSERT INTO group_entries VALUES ('\x1688b0589247d5219267fc43f54c4c24ac3f6dd9464cecf2846deae58bffe60d', 3, '\x656e7472792033', '\x40093ead2c5f20a05dfd08796e7f24d7b8ccf0b2345f71d0fdb80c493e331a07', 1700000000);
INSERT INTO group_leavers VALUES ('\x1688b0589247d5219267fc43f54c4c24ac3f6dd9464cecf2846deae58bffe60d', 'dave', '\x0561ea0803f8853523b777d414ace3130cd4d3f92de2cd7ff8695c337d79c2eeee', 3);
INSERT INTO group_seats VALUES ('\x1688b0589247d5219267fc43f54c4c24ac3f6dd9464cecf2846deae58bffe60d', 'alice', '\x052bd806c97f0e00af1a1fc3328fa763a9269723c8db8fac4f93af71db186d6e90', 1);
INSERT INTO group_seats VALUES ('\x1688b0589247d5219267fc43f54c4c24ac3f6dd9464cecf2846deae58bffe60d', 'bob', '\x0581b637d8fcd2c6da6359e6963113a1170de795e4b725b84d1e0b4cfd9ec58ce9', 1);
INSERT INTO groups VALUES ('\x1688b0589247d5219267fc43f54c4c24ac3f6dd9464cecf2846deae58bffe60d', 'team', 1, 3, '\x40093ead2c5f20a05dfd08796e7f24d7b8ccf0b2345f71d0fdb80c493e331a07', 3, 1700000000);
INSERT INTO handed_prekeys VALUES (2, 0, 0, '\xf9f909cb816f7fbb222028c6294585e4cf107069a11bc8f14ec14aece6103203', 1700000000, 1, true);
INSERT INTO handed_prekeys VALUES (2, 1, 0, '\x634c166ec7b546d7e860273e71ca5087ce6d03634b90a400a85c1b749d5457bf', 1700000000, 1, true);
INSERT INTO mail VALUES (1, 1, 1, 1, '\x054d79a72a9a25950448bbed1c4017df', 2, 6, 1700000000, NULL, 1);
INSERT INTO mail VALUES (2, 3, 1, 1, '\x00000000000000000000000000000002', 1, 6, 1700000000, '\x646972656374', NULL);
INSERT INTO mail VALUES (1, 2, 2, 2, '\x00000000000000000000000000000003', 1, 6, 1700000000, NULL, 2);
INSERT INTO mail VALUES (1, 3, 1, 1, '\x690396b0e760bb1a655c81fe146dd04f', 2, 7, 1700000000, NULL, 3);
INSERT INTO mail VALUES (2, 4, 1, 1, '\x690396b0e760bb1a655c81fe146dd04f', 2, 7, 1700000000, NULL, 3);
INSERT INTO mail VALUES (1, 4, 1, 1, '\x40093ead2c5f20a05dfd08796e7f24d7', 2, 7, 1700000000, NULL, 4);
INSERT INTO mail VALUES (2, 5, 1, 1, '\x40093ead2c5f20a05dfd08796e7f24d7', 2, 7, 1700000000, NULL, 4);
INSERT INTO mailbox_shares VALUES (1, 2, 1, 6);
INSERT INTO mailbox_shares VALUES (1, 1, 3, 20);
INSERT INTO mailbox_shares VALUES (2, 1, 3, 20);
INSERT INTO mailboxes VALUES (1, 4, 4, 26);
INSERT INTO mailboxes VALUES (2, 5, 3, 20);
INSERT INTO one_time_prekeys VALUES (1, 0, 0, '\x65632030', NULL, '\xf9f909cb816f7fbb222028c6294585e4cf107069a11bc8f14ec14aece6103203');
INSERT INTO one_time_prekeys VALUES (1, 0, 1, '\x65632031', NULL, '\x3c184e8319a4b8f5598ac58b4e53d3ce715213f8c412f9eac5994eb2ec48d388');
INSERT INTO one_time_prekeys VALUES (1, 1, 0, '\x6b656d2030', '\x7369676e6174757265', '\x634c166ec7b546d7e860273e71ca5087ce6d03634b90a400a85c1b749d5457bf');
INSERT INTO one_time_prekeys VALUES (1, 1, 1, '\x6b656d2031', '\x7369676e6174757265', '\x16e3d893dd021b659e343e8ad0dc70226468f677d00bc89161f51d5898bc4fd4');
INSERT INTO one_time_prekeys VALUES (2, 0, 1, '\x65632031', NULL, '\x3c184e8319a4b8f5598ac58b4e53d3ce715213f8c412f9eac5994eb2ec48d388');
INSERT INTO one_time_prekeys VALUES (2, 1, 1, '\x6b656d2031', '\x7369676e6174757265', '\x16e3d893dd021b659e343e8ad0dc70226468f677d00bc89161f51d5898bc4fd4');
INSERT INTO schema_version VALUES ('relay', 3);
INSERT INTO submissions VALUES (1, 7, 7, '\x646967657374206f66206e756d626572');
INSERT INTO users VALUES (1, 'alice', '\x052bd806c97f0e00af1a1fc3328fa763a9269723c8db8fac4f93af71db186d6e90', 1700000000);
INSERT INTO users VALUES (2, 'bob', '\x0581b637d8fcd2c6da6359e6963113a1170de795e4b725b84d1e0b4cfd9ec58ce9', 1700000000);
INSERT INTO users VALUES (3, 'carol', '\x054c26d9074c27d89ede59270c0ac14b71e071b15239519f75474b2f3ba63481f5', 1700000000);
SELECT pg_catalog.setval('addresses_device_key_seq', 3, true);
SELECT pg_catalog.setval('bodies_body_key_seq', 4, true);
SELECT pg_catalog.setval('users_user_key_seq', 3, true);
ALTER TABLE ONLY addresses
    ADD CONSTRAINT addresses_pkey PRIMARY KEY (device_key);
ALTER TABLE ONLY bodies
    ADD CONSTRAINT bodies_pkey PRIMARY KEY (body_key);
ALTER TABLE ONLY body_references
    ADD CONSTRAINT body_references_pkey PRIMARY KEY (body_key);
ALTER TABLE ONLY bundle_answers
    ADD CONSTRAINT bundle_answers_pkey PRIMARY KEY (asker_key, request_id);
ALTER TABLE ONLY bundles
    ADD CONSTRAINT bundles_pkey PRIMARY KEY (device_key);
ALTER TABLE ONLY devices
    ADD CONSTRAINT devices_pkey PRIMARY KEY (device_key);
ALTER TABLE ONLY devices
    ADD CONSTRAINT devices_user_key_device_id_key UNIQUE (user_key, device_id);
ALTER TABLE ONLY envelope_ids
    ADD CONSTRAINT envelope_ids_pkey PRIMARY KEY (device_key, sender_key, envelope_id);
ALTER TABLE ONLY group_entries
    ADD CONSTRAINT group_entries_pkey PRIMARY KEY (group_id, number);
ALTER TABLE ONLY group_leavers
    ADD CONSTRAINT group_leavers_pkey PRIMARY KEY (group_id, user_id, identity_key);
ALTER TABLE ONLY group_seats
    ADD CONSTRAINT group_seats_pkey PRIMARY KEY (group_id, user_id);
ALTER TABLE ONLY groups
    ADD CONSTRAINT groups_name_key UNIQUE (name);
ALTER TABLE ONLY groups
    ADD CONSTRAINT groups_pkey PRIMARY KEY (group_id);
ALTER TABLE ONLY handed_prekeys
    ADD CONSTRAINT handed_prekeys_pkey PRIMARY KEY (device_key, kind, key_id);
ALTER TABLE ONLY mail
    ADD CONSTRAINT mail_pkey PRIMARY KEY (device_key, number);
ALTER TABLE ONLY mailbox_shares
    ADD CONSTRAINT mailbox_shares_pkey PRIMARY KEY (device_key, sender_user_key);
ALTER TABLE ONLY mailboxes
    ADD CONSTRAINT mailboxes_pkey PRIMARY KEY (device_key);
ALTER TABLE ONLY one_time_prekeys
    ADD CONSTRAINT one_time_prekeys_pkey PRIMARY KEY (device_key, kind, key_id);
ALTER TABLE ONLY schema_version
    ADD CONSTRAINT schema_version_pkey PRIMARY KEY (name);
ALTER TABLE ONLY submissions
    ADD CONSTRAINT submissions_pkey PRIMARY KEY (device_key, slot);
ALTER TABLE ONLY users
    ADD CONSTRAINT users_pkey PRIMARY KEY (user_key);
ALTER TABLE ONLY users
    ADD CONSTRAINT users_user_id_key UNIQUE (user_id);
CREATE INDEX addresses_removed ON addresses USING btree (removed_at);
CREATE INDEX bundle_answers_age ON bundle_answers USING btree (answered_at);
CREATE INDEX devices_seen ON devices USING btree (seen_at);
CREATE INDEX envelope_ids_age ON envelope_ids USING btree (stored_at);
CREATE INDEX group_seats_user ON group_seats USING btree (user_id);
CREATE INDEX handed_prekeys_age ON handed_prekeys USING btree (handed_at);
CREATE INDEX handed_prekeys_asker ON handed_prekeys USING btree (asker_user_key, handed_at);
CREATE INDEX mail_age ON mail USING btree (stored_at);
ALTER TABLE ONLY bundle_answers
    ADD CONSTRAINT bundle_answers_asker_key_fkey FOREIGN KEY (asker_key) REFERENCES devices(device_key) ON DELETE CASCADE;
ALTER TABLE ONLY bundles
    ADD CONSTRAINT bundles_device_key_fkey FOREIGN KEY (device_key) REFERENCES devices(device_key) ON DELETE CASCADE;
ALTER TABLE ONLY devices
    ADD CONSTRAINT devices_user_key_fkey FOREIGN KEY (user_key) REFERENCES users(user_key) ON DELETE CASCADE;
ALTER TABLE ONLY group_entries
    ADD CONSTRAINT group_entries_group_id_fkey FOREIGN KEY (group_id) REFERENCES groups(group_id) ON DELETE CASCADE;
ALTER TABLE ONLY group_leavers
    ADD CONSTRAINT group_leavers_group_id_fkey FOREIGN KEY (group_id) REFERENCES groups(group_id) ON DELETE CASCADE;
ALTER TABLE ONLY group_seats
    ADD CONSTRAINT group_seats_group_id_fkey FOREIGN KEY (group_id) REFERENCES groups(group_id) ON DELETE CASCADE;
ALTER TABLE ONLY handed_prekeys
    ADD CONSTRAINT handed_prekeys_device_key_fkey FOREIGN KEY (device_key) REFERENCES devices(device_key) ON DELETE CASCADE;
ALTER TABLE ONLY mailboxes
    ADD CONSTRAINT mailboxes_device_key_fkey FOREIGN KEY (device_key) REFERENCES devices(device_key) ON DELETE CASCADE;
ALTER TABLE ONLY one_time_prekeys
    ADD CONSTRAINT one_time_prekeys_device_key_fkey FOREIGN KEY (device_key) REFERENCES devices(device_key) ON DELETE CASCADE;
