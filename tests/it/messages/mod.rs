//! What people are told, by status, message and log: it is true, and what it tells them to do works.

mod advice;
mod logs;
mod status;
