import{Y as m,ga as a,ha as i,ma as p,o as r,r as e}from"./chunk-DDF5WZKZ.js";function n(){let{data:o,error:t,reload:s}=p(d=>e("GET","api/v1/system",{signal:d}).then(f=>f.data));return r`<${m}>System<//>
    <${a} error=${t} retry=${s} />
    ${!o&&!t&&r`<${i} />`}
    ${o&&r`<p>Version ${o.version}</p>`}`}export{n as default};
