//! Each request is carried out at most once: whatever is applied again, deleted, edited, restored or restarted.

mod chunks;
mod crash;
mod created;
mod duplicates;
mod etcd_set_back;
mod hand_over;
mod leader;
mod partly;
mod records;
mod requests;
mod restored_objects;
mod restored_records;
mod steps;
