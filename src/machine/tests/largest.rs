//! Commands at their largest: whatever is accepted is applied, linked, stored and read back within
//! limits, on three machines that agree. Every text is as long as its limit, now and then longer by
//! one, of characters that grow when they are escaped.

use proptest::{collection::vec, prelude::*, sample::select};

use super::{
    agreement::Replicas,
    commands::{Step, policy_world, step},
    *,
};
use crate::{
    codec,
    domain::{tests::world::*, *},
    limits,
};

/// What texts are made of, and how much more than fits.
#[derive(Debug, Clone, Copy)]
struct Fill {
    /// Two bytes once escaped, or four bytes unescaped; of texts that are not checked for controls,
    /// six bytes once escaped.
    character: char,
    beyond: usize,
}

fn fill() -> impl Strategy<Value = Fill> {
    let beyond = prop_oneof![9 => Just(0), 1 => Just(1)];
    (select(vec!['"', '\\', '\u{10ffff}', 'é', '\u{7ff}']), beyond)
        .prop_map(|(character, beyond)| Fill { character, beyond })
}

impl Fill {
    fn text(self, chars: usize) -> String {
        self.character.to_string().repeat(chars + self.beyond)
    }

    fn bytes(self, bytes: usize) -> String {
        let mut text = self.character.to_string().repeat(bytes / self.character.len_utf8());
        text.push_str(&"\"".repeat(bytes - text.len() + self.beyond));
        text
    }

    fn name(self, text: &mut String) {
        *text = self.text(limits::NAME_MAX_CHARS);
    }

    fn description(self, text: &mut Option<String>) {
        *text = Some(self.text(limits::DESCRIPTION_MAX_CHARS));
    }

    /// Many scopes, each as long as fits and none twice.
    fn scope(self, scope: &mut Vec<String>) {
        let long = "x".repeat(limits::SCOPE_MAX_BYTES - 3 + self.beyond);
        *scope = (0..limits::SCOPES_MAX).map(|n| format!("{n:03}{long}")).collect();
    }

    fn request(self, scope: &mut Vec<String>, target: &mut String, intent: &mut Option<String>) {
        self.scope(scope);
        *target = self.text(limits::TARGET_SERVICE_MAX_CHARS);
        *intent = Some(self.text(limits::INTENT_MAX_CHARS));
    }

    fn metadata_key(self, n: usize) -> String {
        let text = self.text(limits::METADATA_KEY_MAX_CHARS - 2);
        format!("{n:02}{text}")
    }

    /// As many rules as fit with their name and description, each as bad as a rule can be: a long
    /// condition of characters that grow sixfold, or many short patterns.
    fn rules(self, rules: &mut CheckedRules, room: usize) {
        let Some(mut rule) = rules.rules.first().cloned() else { return };
        if self.character.len_utf8() == 1 {
            rule.condition = Some("\u{1}".repeat(limits::CONDITION_MAX_BYTES));
        } else {
            rule.frameworks = Some(vec![String::new(); limits::PATTERNS_MAX]);
            rule.owners = Some(vec![self.bytes(limits::PATTERN_MAX_BYTES); 2]);
        }
        let number = (room / codec::encoded_len(&rule)).min(limits::RULES_MAX);
        rules.rules = vec![rule; number + self.beyond];
    }
}

/// What a policy has beside its rules, at most.
const POLICY_FRAME_BYTES: usize =
    4 * limits::NAME_MAX_CHARS + 4 * limits::DESCRIPTION_MAX_CHARS + 256;

/// Makes `action` as large as it can be.
fn enlarge(action: &mut Action, fill: Fill) {
    match action {
        Action::CreateOrganization(new) => fill.name(&mut new.name),
        Action::UpdateOrganization(change) => fill.name(change.name.get_or_insert_default()),
        Action::CreateApiKey(new) => fill.name(&mut new.name),
        Action::UpdateApiKey(change) => fill.name(change.name.get_or_insert_default()),
        Action::CreateAgent(new) => {
            fill.name(&mut new.name);
            fill.name(&mut new.owner);
            fill.description(&mut new.description);
            fill.description(&mut new.model_provider);
            fill.description(&mut new.model_name);
            fill.description(&mut new.framework);
            let value = fill.text(limits::METADATA_VALUE_MAX_CHARS);
            let entries = 0..limits::METADATA_ENTRIES_MAX;
            new.metadata = entries.map(|n| (fill.metadata_key(n), value.clone())).collect();
        }
        Action::UpdateAgent(change) => {
            fill.name(change.name.get_or_insert_default());
            fill.name(change.owner.get_or_insert_default());
            fill.description(change.description.get_or_insert_default());
            fill.description(change.framework.get_or_insert_default());
            let value = Some(fill.text(limits::METADATA_VALUE_MAX_CHARS));
            let entries = 0..limits::METADATA_ENTRIES_MAX;
            let entries = entries.map(|n| (fill.metadata_key(n), value.clone())).collect();
            change.metadata = Some(Some(entries));
        }
        Action::IssueToken(new) => {
            fill.request(&mut new.scope, &mut new.target_service, &mut new.intent);
        }
        Action::DeclineToken(new) => {
            fill.request(&mut new.scope, &mut new.target_service, &mut new.intent);
        }
        Action::CreatePolicy(new) => {
            fill.name(&mut new.name);
            fill.description(&mut new.description);
            fill.rules(&mut new.rules, limits::POLICY_MAX_BYTES - POLICY_FRAME_BYTES);
        }
        Action::UpdatePolicy(change) => {
            fill.name(change.name.get_or_insert_default());
            fill.description(change.description.get_or_insert_default());
            if let Some(rules) = &mut change.rules {
                fill.rules(rules, limits::POLICY_MAX_BYTES - POLICY_FRAME_BYTES);
            }
        }
        Action::CreateOperatorKey(new) => fill.name(&mut new.name),
        Action::CreateWebhook(new) => {
            new.url = fill.bytes(limits::WEBHOOK_URL_MAX_BYTES);
            new.events = EVENT_NAMES.iter().map(|name| (*name).to_owned()).collect();
            fill.description(&mut new.description);
            new.sealed_secret = vec![7; limits::WEBHOOK_SEALED_SECRET_MAX_BYTES + fill.beyond];
        }
        Action::UpdateWebhook(change) => {
            change.url = Some(fill.bytes(limits::WEBHOOK_URL_MAX_BYTES));
            // A choice that changes, so that the one before is remembered.
            let names = EVENT_NAMES.iter().skip(usize::from(change.enabled == Some(true)));
            change.events = Some(names.map(|name| (*name).to_owned()).collect());
            fill.description(change.description.get_or_insert_default());
        }
        Action::RotateWebhookSecret(change) => {
            let bytes = limits::WEBHOOK_SEALED_SECRET_MAX_BYTES + fill.beyond;
            change.secret.sealed = vec![8; bytes];
        }
        Action::RecordDeliveries(told) => {
            let attempts = told.endpoints.iter_mut().flat_map(|endpoint| &mut endpoint.attempts);
            for attempt in attempts {
                if let AttemptResult::Failed(failure) = &mut attempt.result {
                    failure.body = Some(fill.bytes(limits::WEBHOOK_BODY_KEPT_BYTES));
                }
            }
        }
        Action::RecordDomainCheck(check) => {
            if let Seen::Texts(texts) = &mut check.seen {
                texts.resize(limits::DOMAIN_SEEN_MAX, String::new());
                texts.iter_mut().skip(1).for_each(|text| {
                    *text = fill.text(limits::DOMAIN_SEEN_MAX_CHARS);
                });
            }
        }
        Action::SetPlans(plans) => plans.iter_mut().for_each(|plan| fill.name(&mut plan.price)),
        Action::Restore(new) => fill.name(&mut new.operator_key.name),
        // These hold ids, hashes and numbers only, or a name that has to be one that is known.
        Action::RotateApiKey(_)
        | Action::DeleteApiKey(_)
        | Action::TouchApiKeys(_)
        | Action::RotateAgentKey(_)
        | Action::RevokeAgentTokens(_)
        | Action::RevokeAgent(_)
        | Action::RevokeToken(_)
        | Action::RegisterSigningKey(_)
        | Action::RetireSigningKey(_)
        | Action::RevokeSigningKey(_)
        | Action::DeleteOperatorKey(_)
        | Action::DeletePolicy(_)
        | Action::Approve(_)
        | Action::Disapprove(_)
        | Action::Tick(())
        | Action::DeleteWebhook(_)
        | Action::RetryDelivery(_)
        | Action::CreateDomain(_)
        | Action::DeleteDomain(_)
        | Action::ChangePlan(_)
        | Action::SetOperatorPlans(_)
        | Action::LiftSuspension(_) => {}
    }
}

/// The lengths of a snapshot's records.
fn record_lengths(bytes: &[u8]) -> Vec<usize> {
    let mut rest = &bytes[crate::machine::snapshot::MAGIC.len()..];
    let mut lengths = Vec::new();
    while let Some((length, behind)) = rest.split_first_chunk::<4>() {
        let length = u32::from_be_bytes(*length) as usize;
        lengths.push(length);
        rest = &behind[length..];
    }
    lengths
}

fn within_limits(machine: &AuthMachine) {
    let longest = record_lengths(&snapshot(machine)).into_iter().max().unwrap_or(0);
    assert!(longest <= limits::ITEM_MAX_BYTES, "a record of {longest} bytes");
}

fn run(steps: &[(Step, Fill, bool, u8)]) {
    let mut replicas = Replicas::new();
    for command in policy_world() {
        replicas.apply(&command).expect("accepted");
    }
    for (step, fill, large, chance) in steps {
        let mut step = step.clone();
        if *large {
            enlarge(&mut step.command.action, *fill);
            step.command.request_id = "\"".repeat(limits::REQUEST_ID_MAX_BYTES);
        }
        replicas.stamp = step.jump.from(replicas.stamp);
        let command = step.command_in(replicas.first.state(), replicas.stamp);
        let _ = replicas.apply(&command);
        replicas.restore(chance % 16);
    }
    within_limits(&replicas.first);
    replicas.agree();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn the_largest_commands_are_stored_and_read_back(
        steps in vec((step(), fill(), proptest::bool::weighted(0.8), any::<u8>()), 1..60),
    ) {
        run(&steps);
    }
}

/// The worst of each text, which an event may write as six bytes a character.
const WORST: Fill = Fill { character: '"', beyond: 0 };
const WIDEST: Fill = Fill { character: '\u{10ffff}', beyond: 0 };

/// The largest that makes something, each accepted; how long their events are.
fn largest_records(fill: Fill) -> Vec<(&'static str, usize)> {
    let mut machine = AuthMachine::default();
    let mut index = 0;
    let mut run = |actor: Actor, mut action: Action| {
        enlarge(&mut action, fill);
        let mut command = command(actor, action);
        command.request_id = "\"".repeat(limits::REQUEST_ID_MAX_BYTES);
        let bytes = AuthMachine::encode_command(&command).len();
        assert!(2 * bytes < authrai_cluster::limits::COMMAND_MAX_BYTES, "{bytes}");
        index += 1;
        let applied = apply(&mut machine, index, T0, &command);
        applied.reply.unwrap_or_else(|refusal| panic!("{refusal:?}: {:?}", command.action));
        within_limits(&machine);
        applied.records.iter().map(|record| record.bytes.len()).max().unwrap_or(0)
    };
    for command in genesis() {
        match command.action {
            // Its agent's digest is not that of one enlarged.
            Action::IssueToken(_) => {}
            action => {
                run(command.actor, action);
            }
        }
    }
    let policy = policy_world().pop().expect("a policy").action;
    let Action::CreatePolicy(policy) = policy else { panic!("a policy") };
    let plans = (1..limits::PLANS_MAX)
        .map(|n| new_plan(&format!("{n:0>40}"), n as u16, Some(limits::PLAN_LIMIT_MAX / 2)))
        .collect();
    let webhook = |id: u128| {
        Action::CreateWebhook(CreateWebhook {
            id: WebhookId::from_ulid(id),
            url: String::new(),
            events: Default::default(),
            description: None,
            sealed_secret: Vec::new(),
        })
    };
    vec![
        ("agent", run(ALICE, Action::CreateAgent(new_agent(9)))),
        ("policy", run(BOB, Action::CreatePolicy(policy))),
        ("webhook", run(ALICE, webhook(1))),
        ("operator key", run(OPERATOR, Action::CreateOperatorKey(new_operator(9)))),
        ("token", run(ALICE, Action::IssueToken(new_token(9, 9, S0, 300)))),
        // All together in one event.
        ("plans", run(NODE, Action::SetPlans(plans))),
    ]
}

#[test]
fn every_limit_is_more_than_twice_what_a_command_can_make() {
    let records: Vec<_> = [WORST, WIDEST].into_iter().flat_map(largest_records).collect();
    for (what, bytes) in &records {
        let most =
            if *what == "policy" { limits::EVENT_MAX_BYTES } else { limits::EVENT_MAX_BYTES / 2 };
        assert!(*bytes <= most, "{what}: {bytes} bytes");
    }
    let of = |what: &str| records.iter().filter(|known| known.0 == what).map(|r| r.1).max();
    assert!(of("policy") > Some(5 * limits::POLICY_MAX_BYTES), "{records:?}");
    assert!(of("agent") > Some(50_000), "{records:?}");
}
