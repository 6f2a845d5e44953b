//! Queries, exports and checks over a chain in memory.

pub mod sample;

use std::sync::Arc;

use proptest::prelude::*;

use sample::{AGENTS, Memory, NAMES};

use super::{
    export::Export,
    offline::{self, Format},
    query::{Filter, Page, QueryError, page},
    source::{AuditError, Chain, Records},
    verify::Check,
};
use crate::{
    domain::{Head, Tenant},
    limits::{AUDIT_CHUNK_MAX_RECORDS, AUDIT_SCAN_MAX_RECORDS},
};

fn chain(records: impl Records + 'static) -> Chain {
    Chain::new(Arc::new(records), Tenant::SYSTEM)
}

fn sample(length: u64) -> Chain {
    chain(Memory::sample(length))
}

fn seqs(page: &Page) -> Vec<u64> {
    page.events.iter().map(|event| event.seq).collect()
}

/// What the filter means, event by event.
fn is_match(filter: &Filter, seq: u64) -> bool {
    let at = sample::at_ms(seq);
    seq > filter.after_seq
        && filter.event.as_ref().is_none_or(|name| name == sample::name(seq))
        && filter.agent.is_none_or(|agent| agent == sample::agent(seq))
        && filter.token.is_none_or(|token| token == sample::token(seq))
        && filter.actor.as_ref().is_none_or(|actor| *actor == sample::actor(seq))
        && filter.from_ms.is_none_or(|from| at >= from)
        && filter.to_ms.is_none_or(|to| at < to)
}

fn some_filter(length: u64) -> impl Strategy<Value = Filter> {
    let time = || (0..length + 2).prop_map(sample::at_ms);
    let names = NAMES.iter().chain(&["agent.paused"]).map(|name| (*name).to_owned());
    (
        prop::option::of(prop::sample::select(names.collect::<Vec<_>>())),
        prop::option::of((0..AGENTS + 1).prop_map(|seq| match seq {
            AGENTS => crate::domain::AgentId::from_ulid(999),
            seq => sample::agent(seq),
        })),
        prop::option::of((1..=length).prop_map(sample::token)),
        prop::option::of((0..2u64).prop_map(sample::actor)),
        prop::option::of(time()),
        prop::option::of(time()),
        0..length + 2,
    )
        .prop_map(|(event, agent, token, actor, from_ms, to_ms, after_seq)| Filter {
            event,
            agent,
            token,
            actor,
            from_ms,
            to_ms,
            after_seq,
        })
}

/// Keeps some of the filter's conditions, so that matches are not too rare.
fn thinned(filter: Filter, keep: u8) -> Filter {
    let kept = |bit: u8| keep & 1 << bit != 0;
    Filter {
        event: filter.event.filter(|_| kept(0)),
        agent: filter.agent.filter(|_| kept(1)),
        token: filter.token.filter(|_| kept(2) && kept(3)),
        actor: filter.actor.filter(|_| kept(3)),
        from_ms: filter.from_ms.filter(|_| kept(4)),
        to_ms: filter.to_ms.filter(|_| kept(5)),
        after_seq: if kept(6) { filter.after_seq } else { 0 },
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn a_page_is_what_going_through_all_events_gives(
        filter in some_filter(60),
        keep: u8,
        offset in 0..30u64,
        limit in 1..20usize,
    ) {
        let filter = thinned(filter, keep);
        let all: Vec<u64> = (1..=60).filter(|seq| is_match(&filter, *seq)).collect();
        let page = page(sample(60), &filter, offset, limit).unwrap();
        let rest = all.get(offset as usize..).unwrap_or_default();
        prop_assert_eq!(seqs(&page), &rest[..rest.len().min(limit)]);
        let next = (rest.len() > limit).then(|| rest[limit - 1]);
        prop_assert_eq!(page.next_after_seq, next);
        if let Some(total) = page.total {
            prop_assert_eq!(total, all.len() as u64);
        }
        let indexed = filter.token.is_none() && filter.actor.is_none();
        let whole = filter.from_ms.is_none() && filter.to_ms.is_none() && filter.after_seq == 0;
        prop_assert!(page.total.is_some() || !(indexed && whole));
    }

    #[test]
    fn an_export_holds_what_a_query_gives(filter in some_filter(60), keep: u8) {
        let filter = thinned(filter, keep);
        let page = page(sample(60), &filter, 0, 60).unwrap();
        let expected: Vec<String> = page.events.iter().map(super::Entry::json).collect();
        let json = exported(sample(60), &filter, Format::Json);
        prop_assert_eq!(json, format!("[{}]", expected.join(",")));
        let csv = exported(sample(60), &filter, Format::Csv);
        let mut rows = csv::Reader::from_reader(csv.as_bytes());
        let cells: Vec<String> =
            rows.records().map(|row| row.unwrap().iter().next_back().unwrap().to_owned()).collect();
        let texts: Vec<String> = page.events.into_iter().map(|event| event.text).collect();
        prop_assert_eq!(cells, texts);
    }
}

fn exported(chain: Chain, filter: &Filter, format: Format) -> String {
    let mut export = Export::new(chain, filter, format).unwrap();
    let mut all = Vec::new();
    while let Some(piece) = export.piece().unwrap() {
        all.extend(piece);
    }
    String::from_utf8(all).unwrap()
}

#[test]
fn an_export_in_many_pieces_is_a_whole_chain() {
    for (length, format) in [(0, Format::Json), (3_000, Format::Json), (3_000, Format::Csv)] {
        let file = exported(sample(length), &Filter::default(), format);
        let head = sample::links(length).last().map_or([0; 32], |link| link.hash);
        let intact = offline::check(file.as_bytes(), None, Some(head)).unwrap();
        assert_eq!(intact.length, length);
    }
}

#[test]
fn a_piece_of_an_export_holds_no_more_than_one_chunk_of_events() {
    let length = 5 * AUDIT_CHUNK_MAX_RECORDS;
    for format in [Format::Json, Format::Csv] {
        let mut export =
            Export::new(sample(length as u64), &Filter::default(), format).expect("an export");
        let (mut events, mut pieces) = (0, 0);
        while let Some(piece) = export.piece().expect("a piece") {
            let text = String::from_utf8(piece).expect("text");
            // A CSV row names its event in a column of its own and in the event's text.
            let named = if format == Format::Csv { 2 } else { 1 };
            let held = text.matches("evt_").count() / named;
            assert!(held <= AUDIT_CHUNK_MAX_RECORDS, "{held} events in one piece");
            events += held;
            pieces += 1;
        }
        assert_eq!(events, length, "{format:?}");
        assert!(pieces >= 5, "{format:?} came in {pieces} pieces");
    }
}

#[test]
fn an_export_in_which_nothing_matches_for_long_is_still_one_array() {
    let filter = Filter { actor: Some("key_nobody".into()), ..Filter::default() };
    let length = AUDIT_SCAN_MAX_RECORDS + 10;
    assert_eq!(exported(sample(length), &filter, Format::Json), "[]");
}

#[test]
fn an_export_ends_at_the_head_of_its_start() {
    let records = Arc::new(Growing(std::sync::RwLock::new(Memory::sample(10))));
    let chain = Chain::new(records.clone(), Tenant::SYSTEM);
    let mut export = Export::new(chain, &Filter::default(), Format::Json).unwrap();
    *records.0.write().unwrap() = Memory::sample(20);
    let piece = export.piece().unwrap().unwrap();
    assert!(export.piece().unwrap().is_none());
    assert_eq!(offline::check(&piece[..], None, None).unwrap().length, 10);
}

/// A chain that can be replaced by a longer one.
struct Growing(std::sync::RwLock<Memory>);

impl Records for Growing {
    fn head(&self, chain: &[u8]) -> u64 {
        self.0.read().unwrap().head(chain)
    }

    fn read(
        &self,
        chain: &[u8],
        from: u64,
        max_records: usize,
        max_bytes: usize,
    ) -> Result<Vec<(u64, Vec<u8>)>, super::Unread> {
        self.0.read().unwrap().read(chain, from, max_records, max_bytes)
    }

    fn count(&self, chain: &[u8], tag: &[u8]) -> Result<u64, super::Unread> {
        self.0.read().unwrap().count(chain, tag)
    }

    fn seqs(
        &self,
        chain: &[u8],
        tag: &[u8],
        after: u64,
        skip: u64,
        limit: usize,
    ) -> Result<Vec<u64>, super::Unread> {
        self.0.read().unwrap().seqs(chain, tag, after, skip, limit)
    }
}

#[test]
fn deep_offsets_and_single_filters_read_no_more_than_they_show() {
    let records = Arc::new(Memory::sample(30_000));
    let indexed = [
        Filter::default(),
        Filter { event: Some("token.issued".into()), ..Filter::default() },
        Filter { agent: Some(sample::agent(3)), ..Filter::default() },
        Filter {
            event: Some("token.issued".into()),
            agent: Some(sample::agent(3)),
            ..Filter::default()
        },
    ];
    for filter in indexed {
        let before = records.reads.load(std::sync::atomic::Ordering::Relaxed);
        let chain = Chain::new(records.clone(), Tenant::SYSTEM);
        let page = page(chain, &filter, 1_500, 20).unwrap();
        assert_eq!(page.events.len(), 20, "{filter:?}");
        let read = records.reads.load(std::sync::atomic::Ordering::Relaxed) - before;
        assert!(read <= 20 * 32, "{filter:?} read {read} records");
    }
}

#[test]
fn a_scan_that_ends_early_can_be_continued_to_the_end() {
    let length = AUDIT_SCAN_MAX_RECORDS * 2 + 50;
    let records = Arc::new(Memory::sample(length));
    let actor = Some(sample::actor(1));
    let rare = Filter {
        agent: Some(sample::agent(1)),
        actor: Some("key_nobody".into()),
        ..Filter::default()
    };
    for filter in [Filter { actor, ..Filter::default() }, rare] {
        let mut found = Vec::new();
        let mut after_seq = 0;
        loop {
            let chain = Chain::new(records.clone(), Tenant::SYSTEM);
            let filter = Filter { after_seq, ..filter.clone() };
            let before = records.reads.load(std::sync::atomic::Ordering::Relaxed);
            let page = page(chain, &filter, 0, 50_000).unwrap();
            let read = records.reads.load(std::sync::atomic::Ordering::Relaxed) - before;
            assert!(read <= AUDIT_SCAN_MAX_RECORDS + 256, "{read} events were read");
            assert_eq!(page.total, None);
            found.extend(seqs(&page));
            let Some(next) = page.next_after_seq else { break };
            assert!(next > after_seq);
            after_seq = next;
        }
        let all: Vec<u64> = (1..=length).filter(|seq| is_match(&filter, *seq)).collect();
        assert_eq!(found, all);
    }
}

#[test]
fn an_offset_beyond_the_bound_of_a_scan_is_refused() {
    let filter = Filter { actor: Some(sample::actor(1)), ..Filter::default() };
    let deep = page(sample(AUDIT_SCAN_MAX_RECORDS * 2), &filter, AUDIT_SCAN_MAX_RECORDS - 5, 1);
    assert_eq!(deep, Err(QueryError::OffsetTooDeep));
}

#[test]
fn a_damaged_event_is_named_and_never_left_out() {
    let damaged = || {
        let mut records = Memory::sample(100);
        records.damage(42);
        chain(records)
    };
    let error = |result: Result<Page, QueryError>| match result {
        Err(QueryError::Audit(AuditError::Damaged { chain, seq, .. })) => (chain, seq),
        other => panic!("not named: {other:?}"),
    };
    let named = (Tenant::SYSTEM, 42);
    assert_eq!(error(page(damaged(), &Filter::default(), 30, 20)), named);
    let by_agent = Filter { agent: Some(sample::agent(42)), ..Filter::default() };
    assert_eq!(error(page(damaged(), &by_agent, 0, 100)), named);
    let by_actor = Filter { actor: Some(sample::actor(1)), ..Filter::default() };
    assert_eq!(error(page(damaged(), &by_actor, 0, 100)), named);
    assert_eq!(page(damaged(), &Filter::default(), 0, 41).unwrap().events.len(), 41);
    let mut export = Export::new(damaged(), &Filter::default(), Format::Json).unwrap();
    assert!(matches!(export.piece(), Err(AuditError::Damaged { seq: 42, .. })));
}

fn verdict(records: Memory, head: Head) -> Option<u64> {
    let mut check = Check::new(chain(records), head);
    loop {
        if let Some(verdict) = check.turn().unwrap() {
            assert_eq!((verdict.length, verdict.head_hash), (head.seq, head.hash));
            return verdict.first_bad_seq;
        }
    }
}

#[test]
fn the_check_finds_the_first_event_that_the_head_does_not_follow_from() {
    let head = |seq| Head { seq, hash: sample::links(seq).last().map_or([0; 32], |l| l.hash) };
    assert_eq!(verdict(Memory::sample(0), Head::START), None);
    assert_eq!(verdict(Memory::sample(40_000), head(40_000)), None);
    assert_eq!(verdict(Memory::sample(50), head(30)), None, "the journal may be ahead");
    let mut damaged = Memory::sample(50);
    damaged.damage(17);
    assert_eq!(verdict(damaged, head(50)), Some(17));
    let mut cut = Memory::sample(50);
    cut.cut(40);
    assert_eq!(verdict(cut, head(50)), Some(40));
    let rewritten = Head { hash: [7; 32], ..head(50) };
    assert_eq!(verdict(Memory::sample(50), rewritten), Some(50));
}
