"""Many media files at once, from NXCloud to their destination, with a record of each."""
