"""A ticket as an object that is smaller and faster: recorded, shrunk exactly, stored in the cheapest form."""
