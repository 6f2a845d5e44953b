//! A bound on what is going on at once: on the node, and for each organisation, so that none can
//! keep the others out. Must not know what passes.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use crate::domain::OrgId;

/// Counts what is inside.
#[derive(Clone)]
pub struct Gate {
    inside: Arc<Mutex<BTreeMap<OrgId, usize>>>,
    node_max: usize,
    organization_max: usize,
}

/// Which bound is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Full {
    /// That of the node.
    #[error("this node has as many of these open as it can hold")]
    Node,
    /// That of the organisation.
    #[error("the organisation has as many of these open as it may")]
    Organization,
}

/// Counts as inside until it is dropped.
pub struct Pass {
    gate: Gate,
    org: OrgId,
}

impl Gate {
    /// An empty gate with these bounds.
    pub fn new(node_max: usize, organization_max: usize) -> Self {
        Self { inside: Arc::default(), node_max, organization_max }
    }

    /// Lets one more of `org` in.
    pub fn enter(&self, org: OrgId) -> Result<Pass, Full> {
        let mut inside = self.inside.lock().unwrap_or_else(PoisonError::into_inner);
        if inside.get(&org).is_some_and(|count| *count >= self.organization_max) {
            return Err(Full::Organization);
        }
        if inside.values().sum::<usize>() >= self.node_max {
            return Err(Full::Node);
        }
        *inside.entry(org).or_default() += 1;
        Ok(Pass { gate: self.clone(), org })
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        let mut inside = self.gate.inside.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = inside.get_mut(&self.org) {
            *count -= 1;
            if *count == 0 {
                inside.remove(&self.org);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neither_an_organisation_nor_the_node_exceeds_its_bound() {
        let [one, two, three] = [1, 2, 3].map(OrgId::from_ulid);
        let gate = Gate::new(3, 2);
        let held = [gate.enter(one), gate.enter(one), gate.enter(two)];
        assert!(held.iter().all(Result::is_ok));
        assert_eq!(gate.enter(one).err(), Some(Full::Organization));
        assert_eq!(gate.enter(three).err(), Some(Full::Node));
        drop(held);
        assert!(gate.enter(three).is_ok());
        assert!(gate.inside.lock().unwrap().is_empty());
    }
}
