//! Random restorations, and what is lifted after them.

use proptest::{prelude::*, sample::select};

use crate::domain::{tests::restoration::new_restore, tests::world::*, *};

/// The operator key keeps its id, so that whoever asks as the operator goes on after a restoration.
pub(super) fn restorations() -> impl Strategy<Value = Action> {
    prop_oneof![
        2 => (1u8..20).prop_map(|n| Action::Restore(new_restore(n))),
        3 => Just(Action::LiftSuspension(Suspension::All(()))),
        2 => (1u128..6).prop_map(|n| Action::LiftSuspension(Suspension::ApiKey(key(n)))),
        3 => select(vec![1u128, 2, 3, 9]).prop_map(|n| {
            Action::LiftSuspension(Suspension::Agent(agent(n)))
        }),
    ]
}

/// What holds of suspensions, whatever was proposed.
pub(super) fn suspensions_are_sound(state: &State) {
    assert!(state.suspended_api_keys.iter().all(|id| state.api_keys.contains_key(id)));
    for id in &state.suspended_agents {
        assert_ne!(state.agents[id].status, AgentStatus::Revoked);
        assert_eq!(state.token_lists.live_of_agent(*id), 0, "a suspended agent has a token");
    }
    let any = !state.suspended_api_keys.is_empty() || !state.suspended_agents.is_empty();
    assert!(!any || state.restored.is_some());
}
