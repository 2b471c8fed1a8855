"""Many people at a time: a table and the photos that it names, from an archive or a folder.

    arrival.py         a form with a table and an archive, on its way to the disk
    table.py           the table: CSV, record by record, whatever it holds
    zip_directory.py   what a ZIP says that it holds, and one entry's bytes; nothing is extracted
    sources.py         where rows and photos come from: an archive, or a folder of this host
    import_folder.py   where an upload waits until it is worked off
    staging.py         the source's rows become rows of the database, refused or waiting
    importer.py        waiting rows become people and pending faces, some in each transaction
    ledger.py          runs and their rows as they stand; what became of each face is read, not kept
    service.py         an import from its acceptance to its end: the queue's handler
    command.py         the same for a folder, from the command line

Whatever dies meanwhile, each row is worked off once: its outcome, its person, its face and the
face's job are written in one transaction.
"""
