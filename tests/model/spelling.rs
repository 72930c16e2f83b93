//! Brings a state into its canonical form: what can no longer matter is forgotten, and names that are only compared are renumbered, so that
//! equal situations become equal states.

use crate::world::{Record, Stage, What, World};

impl World {
    /// The canonical form of this state: forgets what can no longer matter, renumbers writers, and sorts what has no order. The two
    /// replicas are alike, so which of them comes first is a matter of form too.
    pub fn spelled(self) -> Self {
        let this = self.tidied();
        if this.processes.len() < 2 {
            return this;
        }
        let mut other = this.clone();
        other.processes.swap(0, 1);
        let swap = |waits: &mut Option<(u8, u8)>| *waits = waits.map(|(process, pipeline)| (1 - process, pipeline));
        other.writes.iter_mut().for_each(|w| swap(&mut w.waits));
        other.commits.iter_mut().for_each(|c| swap(&mut c.waits));
        other.renumber();
        this.min(other)
    }

    /// The same, except that each replica keeps its name.
    pub fn tidied(mut self) -> Self {
        self.forget();
        self.renumber();
        self
    }

    fn writers(&mut self) -> Vec<&mut u8> {
        let mut found: Vec<&mut u8> = Vec::new();
        found.extend(self.records.iter_mut().flatten().map(|r| &mut r.writer));
        for write in &mut self.writes {
            match &mut write.what {
                What::Create(record) => found.push(&mut record.writer),
                What::Put { writer, .. } | What::Retry { writer } => found.push(writer),
                What::DropPlan | What::Close(..) => {}
            }
        }
        for stage in self.processes.iter_mut().flat_map(|p| &mut p.stage) {
            match stage {
                Stage::Looking(look) => found.push(&mut look.record.writer),
                Stage::Sending { writer, .. } => found.push(writer),
                Stage::Idle | Stage::Writing => {}
            }
        }
        found
    }

    fn forget(&mut self) {
        let live: Vec<u8> = self.writers().into_iter().map(|w| *w).collect();
        let closed = |request: u8, records: &[Option<Record>; 2]| records[usize::from(request) - 1].is_some_and(|r| r.is_closed());
        let records = self.records;
        if self.processes.iter().all(|process| process.view == self.pipelines) {
            self.changed_last = 0;
        }
        for process in &mut self.processes {
            process.ours.retain(|o| live.contains(&o.writer));
            process.seen.retain(|s| (s.writer == 0 || live.contains(&s.writer)) && !closed(s.request, &records));
        }
    }

    fn renumber(&mut self) {
        self.writes.sort_unstable();
        self.commits.sort_unstable();
        let mut names = [0u8; 32];
        let mut next = 0;
        for writer in self.writers() {
            if *writer != 0 {
                let name = &mut names[usize::from(*writer)];
                if *name == 0 {
                    next += 1;
                    *name = next;
                }
                *writer = *name;
            }
        }
        for process in &mut self.processes {
            process.ours.iter_mut().for_each(|o| o.writer = names[usize::from(o.writer)]);
            process.seen.iter_mut().for_each(|s| s.writer = names[usize::from(s.writer)]);
            process.ours.sort_unstable();
            process.seen.sort_unstable();
        }
        self.writes.sort_unstable();
    }

    pub fn new_writer(&mut self) -> u8 {
        let used: Vec<u8> = self.writers().into_iter().map(|w| *w).collect();
        let ours = self.processes.iter().flat_map(|p| &p.ours).map(|o| o.writer);
        used.iter().copied().chain(ours).max().unwrap_or(0) + 1
    }
}
