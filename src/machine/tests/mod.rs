//! The machine's rules: replicas agree, snapshots hold everything, stored bytes stay.

mod agreement;
mod commands;
mod cost;
mod domain_commands;
mod golden;
mod largest;
mod memory;
mod plan_commands;
mod proposable;
mod restoration_commands;
mod restore;
mod webhook_commands;

use authrai_cluster::{Applied, Machine, Record, Stamp};

use super::AuthMachine;
use crate::domain::{Command, Reply};

/// Applies a command as the log does: through its stored form.
fn apply(machine: &mut AuthMachine, index: u64, at_ms: u64, command: &Command) -> Applied<Reply> {
    let bytes = AuthMachine::encode_command(command);
    let command = AuthMachine::decode_command(&bytes).expect("own bytes");
    machine.apply(Stamp { index, at_ms }, command)
}

fn snapshot(machine: &AuthMachine) -> Vec<u8> {
    let mut bytes = Vec::new();
    AuthMachine::write_snapshot(&machine.freeze(), &mut bytes).expect("memory takes all");
    bytes
}

fn restored(bytes: &[u8]) -> AuthMachine {
    let mut machine = AuthMachine::default();
    machine.restore(&mut &*bytes).expect("own snapshot");
    machine
}
