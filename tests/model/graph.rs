//! Which state follows from which without a fault: whether every state leads to an end, and whether steps can go in circles.

const NONE: u32 = u32::MAX;
/// Flag of a link: time passes or a watch lags in this step, so it cannot repeat for ever.
const PASSES: u32 = 1 << 31;

#[derive(Default)]
pub struct Graph {
    /// The states that lead to each state: a list per state, linked through `links`.
    back: Vec<u32>,
    links: Vec<(u32, u32)>,
    /// How many steps of each state might repeat for ever.
    onward: Vec<u16>,
}

impl Graph {
    pub fn add_state(&mut self) {
        self.back.push(NONE);
        self.onward.push(0);
    }

    pub fn add(&mut self, from: usize, to: usize, passes: bool) {
        self.links.push((from as u32 | if passes { PASSES } else { 0 }, self.back[to]));
        self.back[to] = (self.links.len() - 1) as u32;
        self.onward[from] += u16::from(!passes);
    }

    /// The first state from which none of these ends can be reached.
    pub fn stuck(&self, mut ends: Vec<usize>) -> Option<usize> {
        let mut leads = vec![false; self.back.len()];
        while let Some(end) = ends.pop() {
            if !std::mem::replace(&mut leads[end], true) {
                ends.extend(self.before(end).map(|(from, _)| from));
            }
        }
        leads.iter().position(|leads| !leads)
    }

    /// The states from which steps may return to where they were, for ever.
    pub fn circling(&self) -> Vec<bool> {
        let mut left = self.onward.clone();
        let mut over: Vec<usize> = (0..left.len()).filter(|at| left[*at] == 0).collect();
        while let Some(at) = over.pop() {
            for (from, _) in self.before(at).filter(|(_, passes)| !passes) {
                left[from] -= 1;
                if left[from] == 0 {
                    over.push(from);
                }
            }
        }
        left.iter().map(|left| *left != 0).collect()
    }

    fn before(&self, to: usize) -> impl Iterator<Item = (usize, bool)> + '_ {
        let link = |at: u32| self.links.get(at as usize).copied();
        std::iter::successors(link(self.back[to]), move |(_, next)| link(*next))
            .map(|(from, _)| ((from & !PASSES) as usize, from & PASSES != 0))
    }
}
