// An emulated guest boots in seconds to minutes; what hangs is ended by the limits of each command.
jest.setTimeout(1_200_000);
