//! stub
mod checker; mod history;
fn main(){}
