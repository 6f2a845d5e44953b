//! How much memory a live token takes. A measurement, run by hand:
//! `cargo test --release --lib -- --ignored --nocapture bytes_per_live_token`.

use imbl::OrdMap;

use super::*;
use crate::domain::{Action, LiveToken, State, tests::world::*};

const TOKENS: u64 = 1_000_000;
const AGENTS: u8 = 50;

/// The process's resident memory in bytes, from `/proc/self/statm`.
fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    let pages = statm.split_whitespace().nth(1).and_then(|pages| pages.parse::<u64>().ok());
    pages.expect("pages") * 4096
}

#[test]
#[ignore = "a measurement of a minute or so"]
fn bytes_per_live_token_at_a_million() {
    let start = resident();
    let mut machine = AuthMachine::default();
    for command in genesis() {
        apply(&mut machine, 1, T0, &command).reply.expect("the world can be made");
    }
    for n in 10..10 + AGENTS {
        let create = command(ALICE, Action::CreateAgent(new_agent(n)));
        apply(&mut machine, 1, T0, &create).reply.expect("accepted");
    }
    let began = std::time::Instant::now();
    for n in 1..=TOKENS {
        let of = 10 + n % u64::from(AGENTS);
        let issue = Action::IssueToken(new_token(u128::from(n) << 80 | 7, of.into(), S0, 86_400));
        apply(&mut machine, n, T0, &command(ALICE, issue)).reply.expect("accepted");
        if n % 100 == 0 {
            machine.publish(n);
        }
    }
    let seconds = began.elapsed().as_secs_f64();
    let whole = resident() - start;
    println!("whole state: {} bytes a live token", whole / TOKENS);
    println!("issuing, published every 100: {:.0} tokens/s", TOKENS as f64 / seconds);

    let state: State = machine.freeze();
    let before = resident();
    // As it grows in use: in the order of issue, which is random in the order of hashes.
    let mut tokens: OrdMap<_, LiveToken> = OrdMap::new();
    for hash in state.token_ids.values() {
        tokens.insert(*hash, state.tokens[hash]);
    }
    println!("verify view: {} bytes a live token", (resident() - before) / TOKENS);

    let began = std::time::Instant::now();
    let revoked = command(OPERATOR, Action::RevokeSigningKey(sig(1)));
    apply(&mut machine, TOKENS + 1, T0, &revoked).reply.expect("accepted");
    println!("revoking the key of all: {:?}", began.elapsed());
    let mut bytes = 0;
    let began = std::time::Instant::now();
    AuthMachine::write_snapshot(&state, &mut Counter(&mut bytes)).expect("counted");
    println!("snapshot: {} bytes a live token in {:?}", bytes / TOKENS, began.elapsed());
    drop(tokens);
}

struct Counter<'a>(&'a mut u64);

impl std::io::Write for Counter<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        *self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
