// Which room of provider/ may import which (docs/decisions/0003-rooms.md). What is not listed is forbidden.
const below = ["errors", "engine", "remote", "drivers", "formats", "spec"];
const rooms = {
  formats: [],
  remote: ["errors", "formats"],
  drivers: ["formats"],
  spec: ["errors", "formats", "drivers"],
  engine: ["errors", "formats", "remote", "spec"],
  "layers/[^/]+": ["engine", "drivers", "remote/shell", "formats", "spec", "layers/shared"],
  power: ["errors", "engine", "drivers", "remote/shell", "formats", "spec", "layers/shared"],
  share: [...below, "layers/index", "layers/shared", "power"],
  pulumi: [...below, "layers/index", "layers/shared", "power", "share"],
  cli: [...below, "layers/index", "layers/shared", "power", "share"],
};

const forbidden = Object.entries(rooms).map(([room, allowed]) => {
  // $1: a layer may import itself.
  const own = room.startsWith("layers/") ? "layers/$1/" : `${room}/`;
  const from = room.startsWith("layers/") ? "^provider/layers/([^/]+)/" : `^provider/${room}/`;
  const paths = [own, ...allowed.map((name) => `${name}(/|\\.ts$)`)];
  return {
    name: `${room.replace("[^/]+", "X")} imports only what it may`,
    severity: "error",
    from: { path: from },
    to: { path: "^provider/", pathNot: `^provider/(${paths.join("|")})` },
  };
});

export default {
  forbidden: [
    ...forbidden,
    {
      name: "no circles",
      severity: "error",
      from: {},
      to: { circular: true, viaOnly: { dependencyTypesNot: ["type-only"] } },
    },
  ],
  options: {
    tsConfig: { fileName: "tsconfig.json" },
    tsPreCompilationDeps: true,
    doNotFollow: { path: "node_modules" },
  },
};
