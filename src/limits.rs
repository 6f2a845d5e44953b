//! Every bound on what a client can send or make this node hold, each with its unit in its name.
//!
//! A limit that is exceeded is answered with an error that names it; none is applied silently.

// What the token's wire format bounds itself.
pub use crate::token::{TOKEN_MAX_BYTES, scope::SCOPE_MAX_BYTES};

/// Largest item that is read from the log, a snapshot or another node. Far more than the largest
/// that can be proposed, so that whatever was accepted once is read for ever.
pub const STORED_ITEM_MAX_BYTES: usize = 8 * 1024 * 1024;
/// What the decoder may count, in bytes, in a command that is about to be proposed. It counts a
/// length as 8 bytes and a number as the bytes of its type, so many small parts count for more than
/// they take.
pub const PROPOSED_MAX_BYTES: usize = 1024 * 1024;

/// Largest request body.
pub const BODY_MAX_BYTES: usize = 1024 * 1024;
/// How much of a body that is too large is still read and thrown away, so that its sender gets to
/// read the answer.
pub const BODY_DRAIN_MAX_BYTES: usize = 8 * BODY_MAX_BYTES;
/// How long a whole request may take, from its first byte to its answer.
pub const REQUEST_TIMEOUT_S: u64 = 30;
/// How long a connection may take over the headers of a request.
pub const HEADER_READ_TIMEOUT_S: u64 = 10;
/// How long a request's body may take to arrive.
pub const BODY_TIMEOUT_S: u64 = 15;
/// Requests with a key on one node that wait for a round to the leader or for an index of the log;
/// one more is a 503. As many again without a key.
pub const ROUND_WAITERS_MAX: usize = 4_096;
/// The same, of one organisation; one more is a 429.
pub const ROUND_WAITERS_PER_ORGANIZATION_MAX: usize = 1_024;
/// Requests that a node without a vote has passed on and that are not answered yet; one more is a
/// 503. As many again without a key.
pub const RELAYED_MAX: usize = 512;
/// The same, of one organisation, or of one network without a key; one more is a 429.
pub const RELAYED_PER_ASKER_MAX: usize = 128;
/// How long a command may wait for its commit before the client gets a 503.
pub const PROPOSAL_DEADLINE_MS: u64 = 10_000;
/// Largest number of a node.
pub const NODE_ID_MAX: u64 = 1_000_000;
/// How long a change of the cluster's members or leader may take before the operator gets a 503.
pub const MEMBER_CHANGE_DEADLINE_MS: u64 = 15_000;
/// Commands under way on one node; one more is a 503.
pub const COMMANDS_IN_FLIGHT_MAX: usize = 8_192;
/// Commands of one organisation under way on one node; one more is a 429.
pub const COMMANDS_IN_FLIGHT_PER_ORGANIZATION_MAX: usize = 2_048;
/// Commands that one node has proposed and that are not committed yet; the others wait their turn.
pub const COMMANDS_AT_THE_LOG_MAX: usize = 4_096;
/// Commands of one organisation that one node has proposed and that are not committed yet: so many
/// of them, at most, are in the log before the next command of another organisation.
pub const COMMANDS_AT_THE_LOG_PER_ORGANIZATION_MAX: usize = 1_024;
/// API keys whose last use is remembered between two reports of it.
pub const KEY_USES_REMEMBERED_MAX: usize = 10_000;
/// Largest answer that is brought back to a node without a vote, which passed the request on.
pub const RELAYED_ANSWER_MAX_BYTES: usize = 8 * 1024 * 1024;
/// How long a read may wait for `AuthRAI-Min-Index`.
pub const MIN_INDEX_WAIT_MS: u64 = 5_000;
/// Longest `X-Request-Id` that is taken over from a caller.
pub const REQUEST_ID_MAX_BYTES: usize = 128;

/// Longest name of an agent, a key or an organisation, and longest owner.
pub const NAME_MAX_CHARS: usize = 100;
/// Longest description, and longest model or framework name.
pub const DESCRIPTION_MAX_CHARS: usize = 1_000;
/// Longest intent of a token.
pub const INTENT_MAX_CHARS: usize = 500;
/// Longest `target_service`.
pub const TARGET_SERVICE_MAX_CHARS: usize = 200;
/// Most entries in an agent's metadata.
pub const METADATA_ENTRIES_MAX: usize = 20;
/// Longest key in an agent's metadata.
pub const METADATA_KEY_MAX_CHARS: usize = 40;
/// Longest value in an agent's metadata.
pub const METADATA_VALUE_MAX_CHARS: usize = 500;

/// Most scopes in one token.
pub const SCOPES_MAX: usize = 64;
/// Time-to-live of a token that asks for none.
pub const TTL_DEFAULT_S: u64 = 300;
/// Longest time-to-live of a token.
pub const TTL_MAX_S: u64 = 86_400;
/// Most tokens verified in one request.
pub const VERIFY_BATCH_MAX: usize = 100;
/// How far a token's `iat` may lie from the log's time.
pub const ISSUED_AT_SKEW_MAX_S: u64 = 5;
/// How long a token's record outlives its expiry, so that a revocation is never forgotten early.
pub const EXPIRY_MARGIN_S: u64 = 60;
/// Most live tokens in one organisation's environment.
pub const LIVE_TOKENS_PER_TENANT_MAX: u64 = 2_000_000;
/// Most live tokens in the cluster.
pub const LIVE_TOKENS_MAX: u64 = 5_000_000;
/// Most token records of one organisation's environment, those of revoked tokens counted too.
pub const TOKEN_RECORDS_PER_TENANT_MAX: u64 = 2 * LIVE_TOKENS_PER_TENANT_MAX;
/// Most token records in the cluster, those of revoked tokens counted too.
pub const TOKEN_RECORDS_MAX: u64 = 2 * LIVE_TOKENS_MAX;
/// Tokens that may leave the lists between two views for the older one to be freed in passing.
pub const FREED_HERE_MAX_TOKENS: u64 = 20_000;
/// Most expired records that one tick removes.
pub const PRUNE_BATCH_MAX: usize = 10_000;

/// Most organisations.
pub const ORGANIZATIONS_MAX: usize = 100_000;
/// Most API keys of one organisation.
pub const API_KEYS_PER_ORGANIZATION_MAX: usize = 1_000;
/// Longest line of API keys of which each created the next.
pub const API_KEY_GENERATIONS_MAX: usize = 8;
/// Most agents of one organisation's environment.
pub const AGENTS_PER_TENANT_MAX: usize = 1_000_000;
/// From which stored form on the digest of what policies see of an agent is kept, so that no token
/// request takes longer for a large agent.
pub const AGENT_DIGEST_KEPT_FROM_BYTES: usize = 2 * 1024;
/// Most operator keys.
pub const OPERATOR_KEYS_MAX: usize = 100;
/// Most signing keys that are remembered.
pub const SIGNING_KEYS_MAX: usize = 10_000;
/// How long a secret that has stopped is remembered, so that a command proposed again cannot revive
/// it.
pub const RETIRED_SECRET_MEMORY_S: u64 = 60;
/// Longest overlap in which a rotated API key's old secret still works.
pub const ROTATION_GRACE_MAX_S: u64 = 7 * 86_400;

/// Page size of a list that asks for none.
pub const PAGE_DEFAULT: u64 = 20;
/// Largest page.
pub const PAGE_MAX: u64 = 100;
/// Furthest start of a page.
pub const OFFSET_MAX: u64 = 10_000_000;

/// Records that one audit query examines when a filter has no index; then the page ends early.
pub const AUDIT_SCAN_MAX_RECORDS: u64 = 20_000;
/// Records that an export, a check or a scan of the audit log holds at a time.
pub const AUDIT_CHUNK_MAX_RECORDS: usize = 256;
/// Bytes of records that an export, a check or a scan of the audit log holds at a time.
pub const AUDIT_CHUNK_MAX_BYTES: usize = 1024 * 1024;
/// Records between two turns of a check of the whole chain, so that others get to read.
pub const AUDIT_VERIFY_TURN_RECORDS: u64 = 16_384;
/// Threads of a node that read the audit log at the same time.
pub const AUDIT_READERS_MAX: usize = 4;
/// Audit requests of a node that wait for a thread to read with.
pub const AUDIT_WAITING_MAX: usize = 256;
/// The same, of one organisation.
pub const AUDIT_WAITING_PER_ORGANIZATION_MAX: usize = 64;
/// Exports and checks of whole chains in progress on a node.
pub const AUDIT_EXPORTS_MAX: usize = 32;
/// Exports and checks of whole chains that one organisation has in progress on a node.
pub const AUDIT_EXPORTS_PER_ORGANIZATION_MAX: usize = 4;
/// Open audit streams of a node.
pub const AUDIT_STREAMS_MAX: usize = 1_024;
/// Open audit streams of one organisation on a node.
pub const AUDIT_STREAMS_PER_ORGANIZATION_MAX: usize = 16;
/// How often an audit stream says that it is alive, and looks whether its key still is.
pub const AUDIT_STREAM_KEEP_ALIVE_S: u64 = 15;
/// How far the `at` of a token's events may lie before its id was minted or after its longest life.
pub const AUDIT_TOKEN_SLACK_S: u64 = 3_600;
/// How long an audit stream lets changes gather before it looks for new events.
pub const AUDIT_STREAM_GATHER_MS: u64 = 20;
/// After how long it makes sense to ask for an export, a check or a stream again.
pub const AUDIT_RETRY_AFTER_S: u64 = 10;
/// Largest text of an audit event, its envelope included. What a command puts out is refused if it
/// is larger; a journal record can be many times as large.
pub const EVENT_MAX_BYTES: usize = 480 * 1024;
/// Largest item that a command puts into the state, in its stored form; a record of a snapshot can
/// be many times as large.
pub const ITEM_MAX_BYTES: usize = 256 * 1024;
/// Longest name of an audit event.
pub const EVENT_NAME_MAX_BYTES: usize = 60;
/// Largest place in an audit chain: the largest whole number that JSON carries safely.
pub const SEQ_MAX: u64 = (1 << 53) - 1;
/// Longest row of an export that the offline check reads; a row is at most a record twice over.
pub const AUDIT_ROW_MAX_BYTES: usize = 32 * 1024 * 1024;

/// Most policies of one organisation's environment.
pub const POLICIES_PER_TENANT_MAX: usize = 1_000;
/// Largest policy, in its stored form.
pub const POLICY_MAX_BYTES: usize = 64 * 1024;
/// Most rules in one policy.
pub const RULES_MAX: usize = 100;
/// Highest priority of a policy.
pub const PRIORITY_MAX: u16 = 10_000;
/// Priority of a policy that states none.
pub const PRIORITY_DEFAULT: u16 = 100;
/// Most patterns in one list of a rule.
pub const PATTERNS_MAX: usize = 64;
/// Longest pattern.
pub const PATTERN_MAX_BYTES: usize = 200;
/// Most throttles that one token request can pass under; a request that more of them match is
/// denied.
pub const THROTTLES_PER_VERDICT_MAX: usize = 64;
/// Most requests that a throttle may let through in a window.
pub const THROTTLE_LIMIT_MAX: u64 = 1_000_000_000;
/// Longest window of a throttle: 31 days.
pub const THROTTLE_WINDOW_MAX_S: u64 = 31 * 86_400;
/// How long an approval waits for an answer when its rule does not say.
pub const APPROVAL_TTL_DEFAULT_S: u64 = 3_600;
/// Longest that an approval may wait for an answer: 30 days.
pub const APPROVAL_TTL_MAX_S: u64 = 30 * 86_400;
/// Longest condition of a rule.
pub const CONDITION_MAX_BYTES: usize = 1_024;
/// Deepest nesting of a condition.
pub const CONDITION_DEPTH_MAX: usize = 16;
/// Most that evaluating one condition may cost, in steps: about one for each part of it and each 64
/// bytes that it looks at, times the turns of its loops. Each byte that a regular expression looks
/// at counts for a sixteenth of the states of its automaton.
pub const CONDITION_STEPS_MAX: u64 = 20_000;
/// Most that evaluating all active policies of one organisation's environment may cost, in steps.
pub const POLICY_STEPS_PER_TENANT_MAX: u64 = 500_000;
/// What a rule counts for in those steps, whatever it holds.
pub const RULE_STEPS: u64 = 1;
/// What a pattern counts for in those steps.
pub const PATTERN_STEPS: u64 = 16;
/// Longest text that a condition may build.
pub const CONDITION_TEXT_MAX_BYTES: u64 = 64 * 1024;
/// Most memory that one regular expression of a condition may compile to.
pub const CONDITION_REGEX_MAX_BYTES: usize = 64 * 1024;
/// Stack of the thread that parses conditions: the parser takes some 150 KiB a level.
pub const CONDITION_PARSER_STACK_BYTES: usize = 16 * 1024 * 1024;

/// How long a signed request is good for after it was created.
pub const SIGNATURE_WINDOW_S: u64 = 60;
/// Shortest nonce of a signed request.
pub const NONCE_MIN_BYTES: usize = 8;
/// Longest nonce of a signed request.
pub const NONCE_MAX_BYTES: usize = 128;
/// Longest header of a signed request.
pub const SIGNATURE_HEADER_MAX_BYTES: usize = 2 * 1024;
/// Most nonces of one agent that are remembered.
pub const NONCES_PER_AGENT_MAX: usize = 10_000;
/// Most nonces of one organisation's environment that are remembered.
pub const NONCES_PER_TENANT_MAX: u64 = 500_000;
/// Most nonces that are remembered in the cluster.
pub const NONCES_MAX: usize = 2_000_000;
/// How long a nonce is remembered beyond the window in which its request counts.
pub const NONCE_MARGIN_S: u64 = 60;

/// How long a declined token request is remembered, so that a command proposed again comes to the
/// same and is told of once.
pub const DECLINED_MEMORY_S: u64 = 30;

/// How old a verdict of the policies may be when it is applied.
pub const VERDICT_AGE_MAX_MS: u64 = 5_000;
/// Token requests of a node that wait to be judged by policies, or are being judged.
pub const JUDGEMENTS_WAITING_MAX: usize = 4_096;
/// The same, of one organisation.
pub const JUDGEMENTS_WAITING_PER_ORGANIZATION_MAX: usize = 1_024;
/// Threads of a node that evaluate policies at the same time.
pub const POLICY_THREADS_MAX: usize = 4;
/// Steps of policies that count as one turn at a thread, in the order in which turns are given.
pub const POLICY_STEPS_A_TURN: u64 = 1_000;
/// Tenants whose compiled policies a node keeps.
pub const POLICY_SETS_KEPT_MAX: usize = 1_000;
/// How often a token request is judged again when what it was judged by has changed.
pub const JUDGE_ATTEMPTS_MAX: usize = 3;
/// Most approvals of one organisation's environment, answered ones included.
pub const APPROVALS_PER_TENANT_MAX: usize = 100_000;
/// Most keys that ask for one approval.
pub const APPROVAL_ASKERS_MAX: usize = 16;
/// How long an approval is shown after its end.
pub const APPROVAL_RETENTION_S: u64 = 7 * 86_400;
/// Most approvals in the cluster, answered ones included.
pub const APPROVALS_MAX: usize = 1_000_000;
/// Most windows of throttles that are counted of one organisation's environment.
pub const THROTTLE_WINDOWS_PER_TENANT_MAX: u64 = 500_000;
/// Most windows of throttles that are counted in the cluster.
pub const THROTTLE_WINDOWS_MAX: usize = 5_000_000;

/// Most webhook endpoints of one organisation, in both environments.
pub const WEBHOOKS_PER_ORGANIZATION_MAX: usize = 100;
/// Most webhook endpoints in the cluster. Each keeps a bounded number of deliveries.
pub const WEBHOOKS_MAX: usize = 50_000;
/// Longest URL of a webhook endpoint.
pub const WEBHOOK_URL_MAX_BYTES: usize = 2_048;
/// Longest sealed signing secret.
pub const WEBHOOK_SEALED_SECRET_MAX_BYTES: usize = 256;
/// How long the old signing secret goes on after a rotation that does not say.
pub const WEBHOOK_GRACE_DEFAULT_S: u64 = 86_400;
/// How long an attempt may take, from the connection to the answer's end.
pub const WEBHOOK_TIMEOUT_S: u64 = 15;
/// How much of an answer's body is read, and kept of a failure.
pub const WEBHOOK_BODY_KEPT_BYTES: usize = 1_024;
/// Deliveries that are kept of one endpoint: those attempted last.
pub const WEBHOOK_DELIVERIES_KEPT: usize = 100;
/// Events that one endpoint is owed after a failure; when there are as many, no further event is
/// sent for the first time.
pub const WEBHOOK_OPEN_RETRIES_MAX: usize = 1_000;
/// The same with those that were under way when the bound was reached.
pub const WEBHOOK_OPEN_RETRIES_HARD_MAX: usize = 1_200;
/// How long an endpoint may do nothing but fail: five days.
pub const WEBHOOK_FAILING_MAX_S: u64 = 5 * 86_400;
/// How far beyond the first event that is still under way others are sent.
pub const WEBHOOK_AHEAD_MAX: u64 = 64;
/// Changes of what an endpoint wants that are remembered until events from before them are sent.
pub const WEBHOOK_PAST_CHOICES_MAX: usize = 16;
/// Most places beyond the position that an endpoint's outbox remembers as dealt with.
pub const WEBHOOK_AHEAD_KEPT_MAX: usize = 256;
/// Attempts at one endpoint at the same time.
pub const WEBHOOK_ATTEMPTS_PER_ENDPOINT_MAX: usize = 16;
/// The same, of first attempts alone and of retries alone: neither shuts the other out.
pub const WEBHOOK_ATTEMPTS_OF_A_KIND_MAX: usize = 12;
/// Attempts of a node at the same time, at endpoints that answer well.
pub const WEBHOOK_ATTEMPTS_MAX: usize = 512;
/// The same, at endpoints that fail or are slow: they wait for each other, and nobody for them.
pub const WEBHOOK_STRUGGLING_ATTEMPTS_MAX: usize = 256;
/// Part of either that one organisation can have: a half.
pub const WEBHOOK_ATTEMPTS_SHARE: usize = 2;
/// How long an endpoint may take before it counts as slow.
pub const WEBHOOK_SLOW_MS: u32 = 1_000;
/// Outcomes in one command.
pub const WEBHOOK_RECORD_ATTEMPTS_MAX: usize = 256;
/// How long outcomes are gathered for one command.
pub const WEBHOOK_GATHER_MS: u64 = 100;
/// Outcomes of one endpoint that are known and not recorded yet; with as many, it waits.
pub const WEBHOOK_UNRECORDED_MAX: usize = 1_024;
/// Outcomes of a node that wait to be recorded.
pub const WEBHOOK_REPORTS_WAITING_MAX: usize = 4_096;
/// Events of an endpoint that are held in memory to be sent next, and their bytes.
pub const WEBHOOK_QUEUE_MAX_RECORDS: usize = 256;
/// See [`WEBHOOK_QUEUE_MAX_RECORDS`].
pub const WEBHOOK_QUEUE_MAX_BYTES: usize = 256 * 1024;
/// How far an endpoint may have passed over events that it does not want before that is recorded.
pub const WEBHOOK_PASSED_OVER_MAX: u64 = 4_096;
/// How long an endpoint waits that could not start an attempt since the node may not.
pub const WEBHOOK_PAUSE_MS: u64 = 200;
/// How long an endpoint waits that cannot read its events or its secrets.
pub const WEBHOOK_PAUSE_UNREADABLE_MS: u64 = 5_000;
/// How long changes are gathered before endpoints are told of them.
pub const WEBHOOK_NUDGE_MS: u64 = 20;
/// How long a node that stops waits for deliveries that are under way.
pub const WEBHOOK_DRAIN_MS: u64 = 5_000;
/// Test deliveries of a node at the same time; one more is a 503.
pub const WEBHOOK_TESTS_MAX: usize = 64;
/// Test deliveries of one organisation on a node at the same time; one more is a 429.
pub const WEBHOOK_TESTS_PER_ORGANIZATION_MAX: usize = 8;
/// Most steps of the schedule of retries.
pub const WEBHOOK_RETRY_STEPS_MAX: usize = 32;
/// Longest step of the schedule of retries: 30 days.
pub const WEBHOOK_RETRY_STEP_MAX_S: u64 = 30 * 86_400;
/// Most domains of one organisation.
pub const DOMAINS_PER_ORGANIZATION_MAX: usize = 100;
/// Longest name of a domain: what DNS allows, less the label of the challenge.
pub const DOMAIN_NAME_MAX_BYTES: usize = 234;
/// Longest text that is looked at as a domain's name: one in ASCII grows from at most so much.
pub const DOMAIN_TEXT_MAX_BYTES: usize = 4 * DOMAIN_NAME_MAX_BYTES;
/// Longest label of a name in the DNS.
pub const DOMAIN_LABEL_MAX_BYTES: usize = 63;
/// Most TXT records that are kept of what was seen at a domain.
pub const DOMAIN_SEEN_MAX: usize = 8;
/// How much of a TXT record is kept.
pub const DOMAIN_SEEN_MAX_CHARS: usize = 255;
/// Most TXT records of one answer that are looked at.
pub const DNS_RECORDS_MAX: usize = 100;
/// Most DNS servers that are asked in turn.
pub const DNS_SERVERS_MAX: usize = 8;
/// How long a check of a domain may take, all servers together.
pub const DNS_CHECK_MAX_MS: u64 = 15_000;
/// Checks of domains under way on a node that somebody asked for; one more is a 503.
pub const DOMAIN_CHECKS_MAX: usize = 64;
/// Checks of domains under way on a node for one organisation; one more is a 429.
pub const DOMAIN_CHECKS_PER_ORGANIZATION_MAX: usize = 8;
/// Domains at which a node looks again at the same time.
pub const DOMAIN_RECHECKS_AT_ONCE: usize = 16;
/// How often a check is made again because somebody else has looked meanwhile.
pub const DOMAIN_CHECK_ATTEMPTS_MAX: usize = 3;
/// Backups that a node makes at the same time; one more is a 429.
pub const BACKUPS_MAX: usize = 2;
/// What an organisation may have in the state whatever its plan, before what the plan adds.
pub const STATE_BYTES_BASE: u64 = 16 * 1024 * 1024;
/// What each agent that a plan allows adds to that.
pub const STATE_BYTES_PER_AGENT: u64 = 8 * 1024;
/// What each token in a month that a plan allows adds to that.
pub const STATE_BYTES_PER_TOKEN: u64 = 512;
/// The most that an organisation may have in the state, on any plan.
pub const STATE_BYTES_PER_ORGANIZATION_MAX: u64 = 4 * 1024 * 1024 * 1024;
/// What an organisation's events of a day may take whatever its plan, before what the plan adds.
pub const EVENT_BYTES_PER_DAY_BASE: u64 = 16 * 1024 * 1024;
/// What each token in a month that a plan allows adds to that.
pub const EVENT_BYTES_PER_DAY_PER_TOKEN: u64 = 2 * 1024;
/// The most that an organisation's events of a day may take, on any plan.
pub const EVENT_BYTES_PER_DAY_MAX: u64 = 64 * 1024 * 1024 * 1024;
/// What an item of an organisation counts for beside its stored form: its places in the indexes.
pub const ITEM_INDEX_BYTES: u64 = 256;
/// What an API key counts for.
pub const API_KEY_BYTES: u64 = 1024;
/// What the record of a token counts for, dead or not.
pub const TOKEN_RECORD_BYTES: u64 = 256;
/// What an open window of a throttle counts for.
pub const THROTTLE_WINDOW_BYTES: u64 = 512;
/// What a nonce that is remembered counts for.
pub const NONCE_BYTES: u64 = 128;
/// What the deliveries that are kept of a webhook endpoint count for, whether there are any or not.
pub const OUTBOX_BYTES: u64 = 192 * 1024;
/// Most plans, those included that are offered no more.
pub const PLANS_MAX: usize = 100;
/// Longest name of a plan.
pub const PLAN_NAME_MAX_BYTES: usize = 40;
/// Largest limit that a plan can set.
pub const PLAN_LIMIT_MAX: u64 = 1_000_000_000_000_000;
/// Most requests in a second that a plan can allow an API key.
pub const REQUESTS_PER_SECOND_MAX: u32 = 1_000_000;
/// Most requests of one operator key in a second, on one node.
pub const OPERATOR_REQUESTS_PER_SECOND_MAX: u32 = 10_000;
/// How often keys and addresses that have been idle are dropped from a table of rates.
pub const RATES_SWEEP_EVERY_MS: u64 = 1_000;
/// Addresses whose rate of verifications a node keeps at a time.
pub const RATED_ADDRESSES_MAX: usize = 100_000;

/// Longest `Idempotency-Key`.
pub const IDEMPOTENCY_KEY_MAX_BYTES: usize = 255;
/// How long the answer to a request with an `Idempotency-Key` is remembered: 24 hours.
pub const IDEMPOTENCY_MEMORY_S: u64 = 86_400;
/// Largest answer that is remembered.
pub const IDEMPOTENCY_ANSWER_MAX_BYTES: u64 = 512 * 1024;
/// The same from [`crate::domain::Level::BOUNDED`] on.
pub const IDEMPOTENCY_ANSWER_BOUNDED_MAX_BYTES: u64 = 128 * 1024;
/// Most answers that are remembered for one organisation.
pub const IDEMPOTENCY_KEYS_PER_ORGANIZATION_MAX: u64 = 100_000;
/// Most bytes of answers that are remembered for one organisation.
pub const IDEMPOTENCY_BYTES_PER_ORGANIZATION_MAX: u64 = 64 * 1024 * 1024;
/// Most answers that are remembered in the cluster.
pub const IDEMPOTENCY_KEYS_MAX: u64 = 1_000_000;
/// Most bytes of answers that are remembered in the cluster.
pub const IDEMPOTENCY_BYTES_MAX: u64 = 512 * 1024 * 1024;

/// How often a verification asks again whether a token has expired or is known, before it says that
/// it cannot tell. Twice is enough unless the leader changes meanwhile.
pub const SETTLE_TRIES_MAX: usize = 4;
