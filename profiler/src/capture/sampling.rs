//! What only sampling mode asks of the programs: how much they are to do, and the stacks that they
//! added up.

use aya::maps::{Array, HashMap, MapError};
use aya::programs::Program;
use profiler_common::record::StackLengths;
use profiler_common::sampling::{Control, STACK_ON_CPU, StackKey, StackSum};

use super::maps::{map_error, removed};
use super::probes::{ProbeError, Probes};
use crate::model::{SampledStack, Stack, ThreadId};

/// Name of the program that does nothing: what the kernel keeps as its time is what keeping it takes.
pub const EMPTY: &str = "empty";
/// Name of the map of stacks, and how many it holds in a deep dive, which does not use it.
pub(super) const UNUSED: (&str, u32) = ("STACK_SUMS", 1);

impl Probes {
    /// Tells the programs how much to do.
    ///
    /// # Errors
    /// If the kernel refuses the map update.
    pub fn set_control(&mut self, control: Control) -> Result<(), ProbeError> {
        let mut map: Array<_, Control> = self.map_mut("SAMPLING_CONTROL")?;
        map.set(0, control, 0)
            .map_err(|e| map_error("SAMPLING_CONTROL", e))
    }

    /// Attaches [`EMPTY`]; nothing is missing without it but the exactness of an estimate.
    pub(super) fn attach_empty(&mut self, btf: &aya::Btf) {
        let Some(Program::BtfTracePoint(program)) = self.program_mut(EMPTY) else {
            return;
        };
        let attached = program
            .load("sched_switch", btf)
            .and_then(|()| program.attach().map(drop));
        if let Err(error) = attached {
            log::debug!("the empty program cannot be attached: {error}");
        }
    }

    /// Takes it away again.
    pub fn detach_empty(&mut self) {
        if let Some(Program::BtfTracePoint(program)) = self.program_mut(EMPTY)
            && let Err(error) = program.unload()
        {
            log::debug!("the empty program was not attached: {error}");
        }
    }

    /// Takes the stacks of an epoch out of the kernel; with `tgids`, only those of these processes.
    ///
    /// # Errors
    /// If the map cannot be read.
    pub fn take_stacks(
        &mut self,
        epoch: u32,
        tgids: Option<&[u32]>,
    ) -> Result<Vec<SampledStack>, ProbeError> {
        let name = UNUSED.0;
        let mut map: HashMap<_, StackKey, StackSum> = self.map_mut(name)?;
        let keys: Vec<StackKey> = map
            .keys()
            .collect::<Result<_, _>>()
            .map_err(|e| map_error(name, e))?;
        let mut taken = Vec::new();
        let wanted = |key: &StackKey| {
            key.epoch == epoch && tgids.is_none_or(|tgids| tgids.contains(&key.tgid))
        };
        for key in keys.iter().filter(|key| wanted(key)) {
            match map.get(key, 0) {
                Ok(sum) => taken.push(sampled(key, &sum)),
                Err(MapError::KeyNotFound) => continue,
                Err(error) => return Err(map_error(name, error)),
            }
            removed(map.remove(key), name)?;
        }
        // The kernel's order is that of its hash; ours must not depend on it.
        taken.sort();
        Ok(taken)
    }
}

fn sampled(key: &StackKey, sum: &StackSum) -> SampledStack {
    let StackLengths {
        user_bytes,
        kernel_bytes,
        ..
    } = sum.lengths;
    let (user, kernel) = (user_bytes as usize / 8, kernel_bytes as usize / 8);
    let part = |from: usize, count: usize| {
        let frames = sum.frames.get(from..from + count);
        frames.unwrap_or_default().to_vec()
    };
    SampledStack {
        thread: ThreadId {
            tgid: key.tgid,
            tid: key.tid,
        },
        wait: (key.kind != STACK_ON_CPU).then_some((key.syscall_nr, key.task_state)),
        stack: Stack {
            user: part(0, user),
            kernel: part(user, kernel),
            ..Stack::default()
        },
        count: sum.count,
        total_ns: sum.total_ns,
    }
}
